"""Random expressions over damaged rows and state: kernel = closures, closures = Google's engine.

    python -m tests.differential.fuzz --triples 200000 --seed 1

A triple is one expression, one event, one state; `--triples` says how many the kernel and the closures must agree on.
Triples that the kernel leaves to the closures do not count. The comparisons:

- *kernel*: the generated module as plain Python, where an integer that would wrap does not, against the closures, in
  all the cells that they propose, bit for bit. Rows that the kernel leaves to the closures (BAIL) are counted apart:
  they are right by construction.
- *machine*: the same module compiled by numba. Compiling takes seconds, so few expressions meet many rows.
- *google*: the closures against cel-expr-python, on the part of the language without doubles, with the extension
  libraries. What differs on purpose is listed in `earnbook.rules.conformance` and `tests/rules/test_language.py`.

The first disagreement ends the run, with the seed that repeats it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cel_expr_python import cel

from earnbook.rules.compile import CompiledRuleset, compile_program
from earnbook.rules.issues import IssueError
from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.parse import parse_expression
from earnbook.rules.values import CelError, Value
from tests.support import cel_expressions
from tests.support.damage import damaged, damaged_integers, edge_number
from tests.support.google import ERROR, comparable, google_engine, google_value
from tests.support.kernel_programs import (
    PTS,
    attribute_program,
    random_entity,
    random_event,
    random_expression,
    random_program,
)
from tests.support.kernel_rows import NOW, Entity, Pool, Row, interpreted, run_closures, run_kernel

EXPRESSIONS_PER_BATCH = 5
ROWS_PER_BATCH = 40
ROWS_PER_MACHINE_BATCH = 400
EXPRESSIONS_PER_MACHINE_BATCH = 10

EVENT = {"event": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)}
"""The variables of Google's engine."""

_DAY = 86_400_000_000

Rewrite = Callable[[str], str]
"""What is done to the source of a kernel before it runs: nothing, or a fault that the comparison must find."""


class DisagreementError(AssertionError):
    """Two engines differ; the message has all that is needed to see why."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one comparison has done: triples compared, and triples that the kernel left to the closures."""

    compared: int = 0
    left: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.compared + other.compared, self.left + other.left)


def compare_kernel(seed: str, *, rewrite: Rewrite | None = None) -> Tally:
    """One batch of expressions over damaged rows: the kernel as plain Python against the closures."""
    chance = random.Random(f"kernel {seed}")
    ruleset, expressions = _ruleset(chance, EXPRESSIONS_PER_BATCH)
    source = ruleset.programs[0].source
    if not source:
        return Tally()
    propose = interpreted(rewrite(source) if rewrite else source)
    return _compare(ruleset, _rows(chance, ROWS_PER_BATCH), propose, expressions, f"kernel {seed}")


def compare_machine(seed: str) -> Tally:
    """One batch of expressions over many damaged rows: machine code against the closures."""
    chance = random.Random(f"machine {seed}")
    expressions = [_expression(chance) for _ in range(EXPRESSIONS_PER_MACHINE_BATCH)]
    with tempfile.TemporaryDirectory(prefix="earnbook-fuzz-") as folder:
        ruleset = compile_program(attribute_program(expressions), [PTS], cache_directory=Path(folder))
    if ruleset.programs[0].propose is None:
        return Tally()
    rows = _rows(chance, ROWS_PER_MACHINE_BATCH)
    return _compare(ruleset, rows, None, len(expressions), f"machine {seed}")


def compare_google(seed: str, engine: cel.Env) -> Tally:
    """One batch of expressions without doubles over damaged rows: the closures against Google's engine."""
    chance = random.Random(f"google {seed}")
    compared = 0
    for _ in range(EXPRESSIONS_PER_BATCH):
        write = chance.choice((cel_expressions.random_expression, cel_expressions.random_library_expression))
        text = write(chance, chance.randint(1, 5))
        theirs, ours = engine.compile(text, disable_check=True), lower_closure(parse_expression(text))
        for _ in range(ROWS_PER_BATCH // 4):
            whole = {name: cel_expressions.random_value(chance, 2) for name in "abcd"}
            event = damaged_integers(chance, whole)
            expected = google_value(theirs.eval(data={"event": event}))
            found = _ours(ours, event)
            if found != expected:
                raise DisagreementError(f"seed {seed}: {text}\non {event}\nours {found}\ntheirs {expected}")
            compared += 1
    return Tally(compared)


def main() -> None:
    """Run the comparisons: so many triples by the kernel and by Google, a tenth as many in machine code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triples", type=int, default=200_000)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    wanted_of = {"kernel": options.triples, "machine": options.triples // 10, "google": options.triples}
    engine = google_engine(EVENT)
    batches: dict[str, Callable[[str], Tally]] = {
        "kernel": compare_kernel,
        "machine": compare_machine,
        "google": lambda seed: compare_google(seed, engine),
    }
    everything = Tally()
    for name, wanted in wanted_of.items():
        started, total = time.perf_counter(), Tally()
        for seed in _seeds(options.seed):
            total += batches[name](seed)
            if total.compared >= wanted:
                break
        everything += total
        _print(name, total, f"{time.perf_counter() - started:>8.1f} s")
    _print("all", everything, f"    seed {options.seed}")


def _print(name: str, total: Tally, rest: str) -> None:
    print(f"{name:8} {total.compared:>9,} equal {total.left:>9,} left to the closures {rest}", flush=True)


def _seeds(seed: str) -> Iterator[str]:
    number = 0
    while True:
        yield f"{seed}.{number}"
        number += 1


def _ruleset(chance: random.Random, count: int) -> tuple[CompiledRuleset, int]:
    """A program of random expressions in attributes (any type of value), or, one time in three, of whole rules."""
    if chance.random() < 0.33:
        ruleset = compile_program(random_program(chance), [PTS], kernel=False)
        return ruleset, len(ruleset.programs[0].rules)
    expressions = [_expression(chance) for _ in range(count)]
    return compile_program(attribute_program(expressions), [PTS], kernel=False), count


def _expression(chance: random.Random) -> str:
    """A random expression, or one operator alone: deep expressions rarely bring an edge value to an operator."""
    if chance.random() < 0.5:
        return random_expression(chance)
    one, other = (chance.choice(("event.n", "event.k", "participant.counters.c", "-2.5", "7")) for _ in range(2))
    places = chance.choice((0, 1, 2, -1, 5))
    rounded, part = (
        chance.choice(("floor", "ceil", "round")),
        chance.choice(("Month", "DayOfYear", "DayOfWeek", "Date")),
    )
    return chance.choice(
        (
            f"{one} {chance.choice(('+', '-', '*', '%', '<', '<=', '==', '>', '>=', '!='))} {other}",
            f"{one} {chance.choice(('+', '-', '*', '*', '/'))} {chance.choice(('2', '0.5', '-0.25', '1e9', '8'))}",
            f"round({one}, {places})",
            f"round({one}, {places})",
            f"{one} % {other}",
            "event.n * event.k",
            f"round({one} / {other}, {places})",
            f"{rounded}({one} {chance.choice('*/')} {chance.choice(('2', '4', '0.1'))})",
            f"{chance.choice(('abs', 'int', 'double', 'string', '-'))}({one})",
            f"{chance.choice(('min', 'max'))}({one}, {other})",
            f"event.t {chance.choice(('==', '!=', '<', '+'))} event.u",
            f"event.f {chance.choice(('&&', '||'))} {one} > {other}",
            f"event.m.x {chance.choice(('==', '!='))} {one}",
            f"now.get{part}()",
        )
    )


def _rows(chance: random.Random, count: int) -> list[Row]:
    return [
        Row(
            event=damaged(chance, _event(chance)),
            participant=random_entity(chance),
            program=random_entity(chance) or Entity(),
            now=NOW + chance.choice((0, 0, -1, 1, 5, _DAY, 59 * _DAY, 365 * _DAY, 20_000 * _DAY)),
        )
        for _ in range(count)
    ]


def _event(chance: random.Random) -> dict[str, Value]:
    edges = {name: edge_number(chance) for name in ("n", "k") if chance.random() < 0.5}
    return {**random_event(chance), **edges}


def _compare(ruleset: CompiledRuleset, rows: list[Row], propose: object | None, expressions: int, seed: str) -> Tally:
    pool = Pool()
    expected = run_closures(ruleset, rows, pool)
    try:
        actual = run_kernel(ruleset, rows, pool, propose)
    except OverflowError:
        raise DisagreementError(f"seed {seed}: an integer of the kernel leaves 64 bits") from None
    for row, right, found in zip(rows, expected, actual, strict=True):
        if found is not None and found != right:
            shown = "\n".join(rule.condition.text for rule in ruleset.programs[0].rules)
            code = "\n".join(ruleset.programs[0].rule_sources)
            raise DisagreementError(f"seed {seed}: {row}\nkernel   {found}\nclosures {right}\n{shown}\n{code}")
    left = sum(found is None for found in actual)
    return Tally((len(rows) - left) * expressions, left * expressions)


def _ours(closure: Callable[[dict[str, Value]], Value], event: dict[str, Value]) -> Value:
    try:
        return comparable(closure({"event": event}))
    except CelError:
        return ERROR


if __name__ == "__main__":
    try:
        main()
    except (DisagreementError, IssueError) as problem:
        sys.exit(str(problem))
