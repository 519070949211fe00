"""Four ways to evaluate the same ten conditions on the same events, in one run: a table in events per second.

    python -m tests.benchmarks.bench_rules --events 20000

cel-python interprets its tree, or transpiles it to Python; cel-expr-python is Google's C++ engine behind Python; the
closures and the kernel are ours. An event counts when all ten conditions have been evaluated for it. Every engine gets
its events in the form it takes; making that form is not counted, because none of the four could do without. Ratios are
those of one run on one machine; the engines must agree on how often the conditions hold, else there is no table.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import celpy
import numba
import numpy as np
from cel_expr_python import cel
from celpy.evaluation import CELEvalError

from earnbook.ledger.schema import FX_COLUMNS, WORD_SECTIONS, WORDS_MATCHED
from earnbook.rules.compile import CompiledRuleset, compile_program
from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.parse import parse_expression
from earnbook.rules.values import CelError
from tests.support.kernel_programs import PTS, program_of, rule
from tests.support.kernel_rows import Pool, Row, kernel_arguments

CONDITIONS = (
    "event.type != 'refund'",
    "event.type == 'purchase' && event.amount > 0.0",
    "event.type == 'purchase' && event.mcc in ['5812', '5814']",
    "event.type == 'purchase' && event.mcc == '5411'",
    "event.type == 'purchase' && event.channel == 'app' && event.amount >= 20.0",
    "event.amount * 2.0 + 1.0 > 100.0 || event.channel == 'web'",
    "has(event.coupon) && event.coupon.startsWith('SPRING')",
    "event.amount > 500.0 ? event.channel == 'store' : event.mcc == '4111'",
    "event.country in ['DE', 'AT', 'CH'] && !(event.type == 'refund')",
    "event.amount >= 10.0 && event.amount < 50.0",
)
"""Conditions as they stand in loyalty programs; every number is a double, so that they mean the same to all engines."""

Event = dict[str, Any]
Count = Callable[[], int]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    options = parser.parse_args()
    events = make_events(options.events)
    slow = events[: max(1, options.events // 20)]
    measured = [
        ("cel-python, interpreted", len(slow), _best(celpy_engine(slow, celpy.InterpretedRunner), 1)),
        ("cel-python, transpiled", len(slow), _best(celpy_engine(slow, celpy.CompiledRunner), 1)),
        ("cel-expr-python", len(events), _best(google_engine(events), 3)),
        ("closures", len(events), _best(closures_engine(events), 3)),
        ("kernel", len(events), _best(kernel_engine(events), 5)),
    ]
    expected = {len(events): closures_engine(events)(), len(slow): closures_engine(slow)()}
    for name, count, (_, matched) in measured:
        if matched != expected[count]:
            sys.exit(f"{name} finds {matched} matches instead of {expected[count]}")
    print(f"{platform.machine()}, Python {platform.python_version()}, numba {numba.__version__}; one core\n")
    print("| engine | events/s | × cel-python | × cel-expr-python |")
    print("|---|---:|---:|---:|")
    speeds = [count / seconds for _, count, (seconds, _) in measured]
    for (name, _, _), speed in zip(measured, speeds, strict=True):
        print(f"| {name} | {speed:,.0f} | {speed / speeds[0]:,.1f} | {speed / speeds[2]:,.2f} |")


def make_events(count: int) -> list[Event]:
    """Seeded events; about one condition in three holds."""
    chance = random.Random("bench rules")
    return [_event(chance) for _ in range(count)]


def celpy_engine(events: Sequence[Event], runner: type[celpy.Runner]) -> Count:
    """cel-python with one of its runners."""
    # cel-python keeps one parser for all environments, whose trees only the first kind of runner can use.
    celpy.celparser.CELParser.CEL_PARSER = None
    environment = celpy.Environment(runner_class=runner)
    programs = [environment.program(environment.compile(text)) for text in CONDITIONS]
    scopes = [{"event": celpy.json_to_cel(_with_floats(event))} for event in events]

    def evaluated(program: celpy.Runner, scope: Any) -> int:
        try:
            return int(bool(program.evaluate(scope)))
        except CELEvalError:
            return 0

    return lambda: sum(evaluated(program, scope) for scope in scopes for program in programs)


def google_engine(events: Sequence[Event]) -> Count:
    """cel-expr-python; the data of an event is bound once for all conditions."""
    environment = cel.NewEnv(variables={"event": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)})
    programs = [environment.compile(text) for text in CONDITIONS]
    scopes = [{"event": _with_floats(event)} for event in events]

    def evaluated(scope: Any) -> int:
        activation = environment.Activation(scope)
        return sum(program.eval(activation).plain_value() is True for program in programs)

    return lambda: sum(evaluated(scope) for scope in scopes)


def closures_engine(events: Sequence[Event]) -> Count:
    """Our closures."""
    closures = [lower_closure(parse_expression(text)).evaluate for text in CONDITIONS]
    scopes = [{"event": event} for event in events]

    def evaluated(closure: Callable[[Any], object], scope: Any) -> int:
        try:
            return int(closure(scope) is True)
        except CelError:
            return 0

    return lambda: sum(evaluated(closure, scope) for scope in scopes for closure in closures)


def kernel_engine(events: Sequence[Event]) -> Count:
    """Our kernel: machine code over columns, called as the ledger's loop calls it."""
    ruleset = kernel_ruleset()
    arguments = kernel_arguments(ruleset, [Row(event=event) for event in events], Pool())
    propose: Any = ruleset.programs[0].propose
    words = np.zeros(WORD_SECTIONS, dtype=np.uint64)
    effects = np.zeros((len(CONDITIONS), FX_COLUMNS), dtype=np.int64)

    @numba.njit
    def loop(propose, records, columns, cells, literals, tables, effects, words):  # type: ignore[no-untyped-def]
        matched = 0
        for record in range(records):
            propose(record, 2 * record + 1, 2 * record, -1, 0, columns, cells, literals, tables, effects, words)
            bits = words[WORDS_MATCHED]
            while bits:
                bits &= bits - np.uint64(1)
                matched += 1
        return matched

    return lambda: int(loop(propose, len(events), *arguments, effects, words))


def kernel_ruleset() -> CompiledRuleset:
    """The ten conditions as rules that credit a constant."""
    return compile_program(program_of(*(rule(text, "1", order=at + 1) for at, text in enumerate(CONDITIONS))), [PTS])


def _event(chance: random.Random) -> Event:
    event: Event = {
        "type": chance.choice(("purchase", "purchase", "purchase", "refund", "visit")),
        "amount": Decimal(chance.randint(100, 99_999)) / 100,
        "mcc": chance.choice(("5812", "5814", "5411", "4111", "7011", "5999")),
        "channel": chance.choice(("app", "web", "store")),
        "country": chance.choice(("DE", "AT", "CH", "FR", "PL")),
    }
    # Always there: at a missing field cel-python's transpiled code prints a line, which is not what is measured.
    event["coupon"] = chance.choice(("", "", "", "SPRING10", "SPRING20", "WINTER"))
    return event


def _with_floats(event: Event) -> Event:
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in event.items()}


def _best(count: Count, rounds: int) -> tuple[float, int]:
    """The least CPU seconds of some rounds after one to warm up, and what was counted."""
    matched = count()
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        count()
        seconds.append(time.process_time() - started)
    return min(seconds), matched


if __name__ == "__main__":
    main()
