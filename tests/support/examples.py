"""Worked examples as data: definitions, records, the ledger notation they must give, and further expectations.

A file of `tests/examples` is YAML:

- `title`, `section`: what it shows and where SEMANTICS shows it;
- `definitions`: a definitions document;
- `runs`: a list of `clock`, optional `order` and `advance_to`, and `records`: NDJSON, so that numbers stay as written.
  In a record that leaves them out, `program_id` is the first program's key, `event_timestamp` (or `effective_at`) the
  shorthand `at` (a date, or date and time, in UTC), `external_id` alice, and `idempotency_key` the row's place;
- `engines`: the engines that run it already; all of them when it is left out;
- `ledger`: the notation of §1.4, for the first asset;
- `outcomes`: the outcome codes of all records, in log order;
- `evaluations`: per record (by log_seq) the rows `rule STATUS [REASON]` in order;
- `created_at`: the creation times of all entries;
- `counters`, `tags`, `attributes`: the state of participants and programs at the end, `holder.key` to value;
- `balances`: `holder.bucket` to the amount of the first asset at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from tests.support.logical import LogicalBook, Run, Scenario
from tests.support.notation import BUCKETS, notation_mismatches, parse_notation
from tests.support.oracle_times import format_time

EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One worked example; `expected` is its document without definitions and runs."""

    name: str
    scenario: Scenario
    engines: tuple[str, ...] | None
    expected: Mapping[str, Any]


def example_names() -> list[str]:
    """All examples, by file name."""
    return sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


def load_example(name: str) -> Example:
    """The example of `tests/examples/<name>.yaml`."""
    document = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    definitions = document.pop("definitions")
    program = definitions["programs"][0]["key"]
    runs = tuple(_read_run(run, number, program) for number, run in enumerate(document.pop("runs")))
    engines = tuple(document.pop("engines")) if "engines" in document else None
    scenario = Scenario(definitions=definitions, runs=runs)
    return Example(name=name, scenario=scenario, engines=engines, expected=document)


def _read_run(run: Mapping[str, Any], number: int, program: str) -> Run:
    rows = [row for row in run.get("records", "").splitlines() if row.strip()]
    return Run(
        lines=tuple(_complete(row, f"r{number}-{place}", program) for place, row in enumerate(rows, start=1)),
        clock=run["clock"],
        order=run.get("order", "time"),
        advance_to=run.get("advance_to"),
    )


def _complete(row: str, key: str, program: str) -> str:
    """Puts what a short record leaves out in front of its members, so that numbers keep their text."""
    fields = json.loads(row)
    front: dict[str, str] = {}
    if "program_id" not in fields:
        front["program_id"] = program
    if "idempotency_key" not in fields:
        front["idempotency_key"] = key
    if "at" in fields:
        time = fields["at"] if "T" in fields["at"] else fields["at"] + "T00:00:00Z"
        front["effective_at" if "type" in fields else "event_timestamp"] = time
        row = row.replace(f'"at": {json.dumps(fields["at"])}, ', "", 1)
    if "type" not in fields and "external_id" not in fields and "participant_id" not in fields:
        front["external_id"] = "alice"
    return "{" + json.dumps(front)[1:-1] + ", " + row.strip().removeprefix("{")


def mismatches(example: Example, book: LogicalBook) -> list[str]:
    """Where a book differs from what the example expects; empty when it is as written."""
    asset = example.scenario.definitions["assets"][0]
    expected = example.expected
    found: list[str] = []
    if "ledger" in expected:
        steps = parse_notation(expected["ledger"])
        found += notation_mismatches(steps, book, asset=asset["symbol"], scale=asset["scale"])
    if "outcomes" in expected:
        found += _unequal("outcomes", expected["outcomes"], [outcome.code for outcome in book.outcomes])
    if "created_at" in expected:
        shown = [format_time(entry.created_at) for entry in book.entries]
        found += _unequal("created_at", [f"{date}T00:00:00Z" for date in expected["created_at"]], shown)
    for log_seq, rows in expected.get("evaluations", {}).items():
        found += _unequal(f"evaluations of record {log_seq}", rows, list(_evaluations(book, log_seq)))
    if "balances" in expected:
        found += _unequal("balances", _amounts(expected["balances"]), _balances(book, asset, expected["balances"]))
    if "counters" in expected:
        counters = {f"{name}.{key}": counter.value for (_, name, key), counter in book.counters.items()}
        found += _unequal("counters", expected["counters"], counters)
    if "tags" in expected:
        found += _unequal("tags", sorted(expected["tags"]), sorted(f"{name}.{tag}" for _, name, tag in book.tags))
    if "attributes" in expected:
        attributes = {f"{name}.{key}": text for (_, name, key), text in book.attributes.items()}
        found += _unequal("attributes", expected["attributes"], attributes)
    return found


def _evaluations(book: LogicalBook, log_seq: int) -> Iterator[str]:
    for row in book.evaluations:
        if row.log_seq == log_seq:
            yield f"{row.rule} {row.status}" + (f" {row.reason}" if row.reason else "")


def _amounts(texts: Mapping[str, str]) -> dict[str, Decimal]:
    return {account: Decimal(text) for account, text in texts.items()}


def _balances(book: LogicalBook, asset: Mapping[str, Any], accounts: Sequence[str] | Mapping[str, str]) -> object:
    balances = {}
    for account in accounts:
        holder, _, bucket = account.rpartition(".")
        amount = book.balances.get(("PARTICIPANT", holder, asset["symbol"], BUCKETS[bucket]), 0)
        balances[account] = Decimal(amount).scaleb(-asset["scale"])
    return balances


def _unequal(what: str, expected: object, shown: object) -> list[str]:
    return [] if expected == shown else [f"{what}: expected {expected}, the book has {shown}"]
