"""How long 500 rules take to compile: the first time, from the cache, and after one rule has changed.

    python -m tests.benchmarks.bench_compile --rules 500

Each step is a process of its own over the same cache directory, as starts of the product are. Seconds are CPU seconds
of that process (user and system), beside the wall clock; reading the definitions is apart from compiling them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from earnbook.rules.compile import compile_ruleset
from earnbook.rules.definitions import load_definitions

_HEAD = """\
organization: {key: bench, name: Benchmark}
assets:
  - {symbol: PTS, name: Points, scale: 0, inventory_mode: LOT, issuance_policy: UNLIMITED, programs: [loyalty]}
  - {symbol: USD, name: Cashback, scale: 2, inventory_mode: SIMPLE, issuance_policy: UNLIMITED, programs: [loyalty]}
programs:
  - key: loyalty
    name: Loyalty
    rules:
"""

_CONDITIONS = (
    "event.type == 'purchase' && event.amount >= {n}",
    "event.type == 'purchase' && event.mcc in ['{n}', '5812', '5814']",
    "event.channel == 'app' && event.merchant.startsWith('M{n}')",
    "get(participant.counters, 'spend', 0.0) >= {n} && !('tag{n}' in participant.tags)",
    "has(event.partner) && event.partner == 'P{n}' && event.amount * 2 > {n}",
    "event.type == 'purchase' && now >= timestamp('2026-01-01T00:00:00Z') && now.getHours() == {n} % 24",
    "event.items.exists(i, i.sku == 'S{n}')",
    "participant.attributes.city == 'C{n}' || event.city == 'C{n}'",
)

_ACTIONS = (
    "[{{type: CREDIT, asset: PTS, amount: 'floor(event.amount * {n})', expires_at: 4320h}}]",
    "[{{type: CREDIT, asset: USD, amount: 'round(event.amount * 0.0{n}, 2)'}}, {{type: TAG, tag: tag{n}}}]",
    "[{{type: COUNTER, key: spend, value: event.amount}}]",
    "[{{type: CREDIT, asset: PTS, amount: 'min(floor(event.amount / 10), {n})'}}]",
    "[{{type: SET_ATTRIBUTE, key: city, value: =event.city}}, {{type: CREDIT, asset: PTS, amount: {n}}}]",
)


def main() -> None:
    """Measure and print, or be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=500)
    parser.add_argument("--measured", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measured:
        print(json.dumps(measured(options.measured)))
        return
    with tempfile.TemporaryDirectory(prefix="earnbook-bench-") as folder:
        print(f"| {options.rules} rules | read, CPU s | compile, CPU s | whole process, wall s |")
        print("|---|---:|---:|---:|")
        for title, changed in (("first", None), ("cached", None), ("one rule changed", options.rules // 2)):
            definitions = Path(folder) / "definitions.yaml"
            definitions.write_text(definitions_text(options.rules, changed=changed), encoding="utf-8")
            seconds = _in_a_process(definitions, Path(folder) / "cache")
            print(f"| {title} | {seconds['read']:.2f} | {seconds['compile']:.2f} | {seconds['wall']:.2f} |", flush=True)


def definitions_text(rules: int, *, changed: int | None = None) -> str:
    """Definitions with so many rules, no two alike; the rule at `changed` has another constant than usual."""
    lines = [_HEAD]
    for number in range(rules):
        constant = 7 * rules if number == changed else number + 2
        condition = _CONDITIONS[number % len(_CONDITIONS)].format(n=constant)
        actions = _ACTIONS[number % len(_ACTIONS)].format(n=constant)
        lines.append(f"      - key: r{number}\n        name: Rule {number}\n        order: {number + 1}\n")
        lines.append(f'        condition: "{condition}"\n        actions: {actions}\n')
    return "".join(lines)


def measured(definitions: Path) -> dict[str, float]:
    """CPU seconds for reading and for compiling definitions."""
    started = time.process_time()
    loaded = load_definitions([definitions])
    read = time.process_time()
    ruleset = compile_ruleset(loaded)
    if ruleset.programs[0].propose is None:
        sys.exit(f"no kernel: {ruleset.programs[0].refused}")
    return {"read": read - started, "compile": time.process_time() - read}


def _in_a_process(definitions: Path, cache: Path) -> dict[str, float]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.bench_compile", "--measured", str(definitions)]
    environment = {**os.environ, "EARNBOOK_CACHE": str(cache)}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seconds: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return {**seconds, "wall": time.perf_counter() - started}


if __name__ == "__main__":
    main()
