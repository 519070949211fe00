"""The kernel proposes exactly what the closures propose, or leaves the row to them."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from earnbook.ledger.schema import TIME_MAX, Bail
from earnbook.rules.compile import CompiledRuleset, compile_program
from tests.support.kernel_programs import (
    PTS,
    attribute_program,
    program_of,
    random_entity,
    random_event,
    random_expression,
    random_program,
    rule,
)
from tests.support.kernel_rows import (
    NOW,
    Entity,
    Pool,
    Row,
    Windowed,
    interpreted,
    kernel_results,
    run_closures,
    run_kernel,
)

START = "2026-01-01T00:00:00Z"

HOUR = 3_600_000_000


def _interpreted(expressions: list[str]) -> CompiledRuleset:
    return compile_program(attribute_program(expressions), [PTS], kernel=False)


def _compare(ruleset: CompiledRuleset, rows: list[Row], shown: str) -> int:
    """Both targets over the rows; returns how many rows the kernel decided itself."""
    pool = Pool()
    expected = run_closures(ruleset, rows, pool)
    actual = run_kernel(ruleset, rows, pool, interpreted(ruleset.programs[0].source))
    for row, right, found in zip(rows, expected, actual, strict=True):
        assert found is None or found == right, f"{shown}\n{row}\n{ruleset.programs[0].rule_sources[0]}"
    return sum(found is not None for found in actual)


@pytest.mark.parametrize("seed", range(40))
def test_random_expressions_mean_the_same_in_both_targets(seed: int) -> None:
    rng = random.Random(seed)
    rows = [
        Row(event=random_event(rng), participant=random_entity(rng), program=random_entity(rng) or Entity())
        for _ in range(12)
    ]
    for _ in range(12):
        expression = random_expression(rng)
        _compare(_interpreted([expression]), rows, f"seed {seed}: {expression}")


@pytest.mark.parametrize("seed", range(25))
def test_random_rules_propose_the_same_in_both_targets(seed: int) -> None:
    rng = random.Random(seed)
    ruleset = compile_program(random_program(rng), [PTS], kernel=False)
    rows = [Row(event=random_event(rng), participant=random_entity(rng)) for _ in range(20)]
    _compare(ruleset, rows, f"seed {seed}")


# Expressions that the kernel decides by itself, each over edge values: error, wrong kind and bail must not be confused.
KERNEL_EXPRESSIONS = [
    "event.n > 50",
    "event.n == 50",
    "event.n != event.k",
    "event.n <= event.k",
    "event.n + event.k",
    "event.n - 0.001",
    "-event.n",
    "event.n * event.k",
    "event.n / 4",
    "event.n / 2.5",
    "event.n % 2",
    "round(event.n * 0.03, 2)",
    "round(event.n, -2)",
    "round(event.n / 3, 2)",
    "floor(event.n / event.k)",
    "ceil(event.n / 0.3)",
    "abs(event.n)",
    "min(event.n, event.k, 3)",
    "max(event.n, 10.5)",
    "int(event.n)",
    "double(event.n)",
    "event.t == 'a'",
    "event.t in ['a', '', 'ab']",
    "event.t in ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'ab']",
    "event.n in [1, 'a', 50.0]",
    "event.t.startsWith('a')",
    "event.t.matches('^a+$')",
    "event.t < 'ab'",
    "'ab' >= event.t",
    "event.f",
    "!event.f",
    "event.f ? event.n : 0",
    "event.f == true",
    "event.t == null",
    "has(event.n)",
    "has(event.m.x)",
    "event.m.x > 1",
    "event['n'] > 0",
    "get(event, 'n', 7)",
    "get(event.m, 'x', 'none')",
    "event.f && event.n > 1",
    "event.f || event.n > 1",
    "event.n > 1 && event.missing == 1 || event.f",
    "get(participant.counters, 'c', 0.0) + 1",
    "participant.counters.c >= 3",
    "has(participant.counters.c)",
    "'c' in participant.counters",
    "'vip' in participant.tags",
    "'VIP' in participant.tags",
    "participant.attributes.city == 'a'",
    "get(participant.attributes, 'city', 'zz')",
    "participant.status == 'ACTIVE'",
    "participant.status in ['SUSPENDED', 'CLOSED']",
    "program.counters.c * 2",
    "'vip' in program.tags",
    "program.key == 'p'",
    "now > timestamp('2026-01-01T00:00:00Z')",
    "now + duration('24h')",
    "now - timestamp('2025-12-31T00:00:00Z') >= duration('24h')",
    "now.getHours() + now.getDayOfWeek() * 100",
    "now.getFullYear() * 10000 + now.getMonth() * 100 + now.getDate()",
    "now.getDayOfYear()",
]

_NUMBERS = [
    *("0", "1", "-1", "50", "50.0", "49.99", "0.125", "-0.125", "2.5", "-2.7", "1250", "51", "7", "7.5", "0.000001"),
    *(
        "9223372036854775807",
        "-9223372036854775808",
        "4611686018427387904",
        "9223372036854.775807",
        "1e30",
        "0.0000001",
    ),
]
_WRONG: list[Any] = [None, True, False, "", "a", "ab", [], [1], {}, {"x": Decimal(2)}]


def _edge_rows() -> list[Row]:
    values: list[Any] = [*(Decimal(number) for number in _NUMBERS), *_WRONG]
    entities = [
        Entity(),
        Entity(counters={"c": Decimal(3)}, tags=("vip",), attributes={"city": "a"}),
        Entity(counters={"c": Windowed(value=Decimal("2.5"), reset_at=NOW - HOUR, reset_after=HOUR)}, status="CLOSED"),
        Entity(counters={"c": Windowed(value=Decimal("2.5"), reset_at=NOW, reset_after=HOUR)}),
        Entity(counters={"c": Decimal(10) ** 19 + Decimal("0.5")}),
        None,
    ]
    rows = [Row(event={})]
    for number, value in enumerate(values):
        other = values[(number * 7 + 3) % len(values)]
        event = {"n": value, "k": other, "t": value, "f": other, "m": {"x": value} if number % 3 else other}
        entity = entities[number % len(entities)]
        now = NOW + (number * 7919 + 1) * HOUR
        rows.append(Row(event=event, participant=entity, program=entity or Entity(), now=now if number % 2 else NOW))
    return rows


@pytest.mark.parametrize("expression", KERNEL_EXPRESSIONS)
def test_edge_values_mean_the_same_in_both_targets(expression: str) -> None:
    ruleset = _interpreted([expression])
    notes = [note for notes in ruleset.programs[0].notes for note in notes]
    assert not notes, "the kernel expresses this by itself"
    # Ordinary rows are decided by the kernel: a batch without extreme numbers.
    assert _compare(ruleset, _edge_rows(), expression) >= 1
    calm = [Row(event={**row.event, "n": Decimal("12.5"), "k": Decimal(4), "f": True}) for row in _edge_rows()[:8]]
    assert _compare(ruleset, calm, expression) == len(calm)


def test_compiled_machine_code_means_what_the_interpreted_code_means(tmp_path: Path) -> None:
    """One program with every third expression: numba types, wraps and shifts as Python does."""
    expressions = [*KERNEL_EXPRESSIONS[::3], "size(event.t) + 1", "event.t + 'x'"]
    ruleset = compile_program(attribute_program(expressions), [PTS], cache_directory=tmp_path)
    source = ruleset.programs[0].source
    rows = _edge_rows()
    calm = [
        Row(event={**row.event, "n": Decimal("12.5"), "k": Decimal(4)}, participant=row.participant) for row in rows
    ]
    for batch in (rows, calm):
        pool = Pool()
        expected = run_closures(ruleset, batch, pool)
        compiled = run_kernel(ruleset, batch, pool)
        assert compiled == run_kernel(ruleset, batch, pool, interpreted(source))
        for right, found in zip(expected, compiled, strict=True):
            assert found is None or found == right
    assert sum(found is not None for found in compiled) > len(rows) // 2


N1 = [
    ("49.99 * 0.03", "1.4997"),
    ("round(49.99 * 0.03, 2)", "1.5"),
    ("round(1.009, 2)", "1.01"),
    ("round(0.125, 2)", "0.13"),
    ("round(-0.125, 2)", "-0.13"),
    ("round(2.5)", "3"),
    ("round(1250, -2)", "1300"),
    ("51 / 2", "25"),
    ("event.n51 / 2", "25.5"),
    ("event.n7 % 2", "1"),
    ("int(-2.7)", "-2"),
]


def test_the_values_of_example_n1_come_from_the_kernel() -> None:
    ruleset = _interpreted([expression for expression, _ in N1])
    row = Row(event={"n51": Decimal(51), "n7": Decimal(7)})
    pool = Pool()
    (found,) = run_kernel(ruleset, [row], pool, interpreted(ruleset.programs[0].source))
    assert found is not None
    for effect, (expression, value) in zip(found.effects, N1, strict=True):
        scale, mantissa = int(effect[1]), int(effect[7])
        assert Decimal(mantissa).scaleb(-scale) == Decimal(value), expression
    (closures,) = run_closures(ruleset, [row], pool)
    assert found == closures


@pytest.mark.parametrize(
    ("expression", "event", "reason"),
    [
        ("event.n * event.n * event.n", {"n": Decimal("9000000000001")}, Bail.NUMBER_RANGE),
        ("event.n + 1", {"n": Decimal("4611686018427387904")}, Bail.NUMBER_RANGE),
        ("event.n > 1", {"n": Decimal("1e30")}, Bail.WIDE_VALUE),
        ("event.n > 1", {"n": Decimal("0.0000001")}, Bail.WIDE_VALUE),
        ("event.n == event.k", {"n": [], "k": []}, Bail.ODD_KIND),
        ("event.n == event.k", {"n": [], "k": Decimal("1e30")}, Bail.WIDE_VALUE),
        ("event.n + event.k", {"n": "a", "k": "b"}, Bail.ODD_KIND),
        ("int(event.n)", {"n": "5"}, Bail.ODD_KIND),
        ("now + duration('24h') > now", {}, Bail.TIME_RANGE),
        ("floor(event.n / event.k)", {"n": Decimal(1), "k": Decimal(0)}, Bail.NUMBER_RANGE),
        ("participant.external_id == 'a' || event.n > 1", {"n": Decimal(1)}, Bail.NOT_IN_KERNEL),
    ],
)
def test_what_does_not_fit_int64_is_left_to_the_closures(expression: str, event: dict[str, Any], reason: Bail) -> None:
    ruleset = _interpreted([expression])
    propose = interpreted(ruleset.programs[0].source)
    assert kernel_results(ruleset, [Row(event=event, now=TIME_MAX)], Pool(), propose) == [reason]


def test_an_operand_that_needs_the_closures_is_asked_last() -> None:
    ruleset = _interpreted(["participant.external_id == 'a' && event.f"])
    propose = interpreted(ruleset.programs[0].source)
    rows = [Row(event={"f": False}), Row(event={"f": True})]
    decided, left = run_kernel(ruleset, rows, Pool(), propose)
    assert decided is not None
    assert left is None


def test_a_wide_counter_is_left_to_the_closures() -> None:
    ruleset = _interpreted(["participant.counters.c > 1"])
    rows = [Row(event={}, participant=Entity(counters={"c": Decimal(10) ** 19 + Decimal("0.5")}))]
    propose = interpreted(ruleset.programs[0].source)
    assert kernel_results(ruleset, rows, Pool(), propose) == [Bail.WIDE_COUNTER]


def test_rules_run_in_order_until_one_stops_and_windows_come_first() -> None:
    program = program_of(
        rule("event.x > 0", "1", order=30),
        rule("event.missing", "2", order=20, active_from=START, active_to=START),
        rule("event.x > 5", "3", order=40, stop_after_match=True),
        rule("true", "4", order=50),
        rule("true", "5", order=10, status="SUSPENDED"),
    )
    ruleset = compile_program(program, [PTS], kernel=False)
    rows = [
        Row(event={"x": Decimal(1)}),
        Row(event={"x": Decimal(9)}, processed_at=NOW + 1),
        Row(event={"x": Decimal(9)}, processed_at=NOW - 1),
    ]
    pool = Pool()
    found = run_kernel(ruleset, rows, pool, interpreted(ruleset.programs[0].source))
    assert found == run_closures(ruleset, rows, pool)
    assert [proposed.words if proposed else None for proposed in found] == [
        (0b1010, 0b0001, 0, 0, 0),
        (0b0110, 0, 0b0001, 0, 0),
        (0b0110, 0, 0b0001, 0, 0),
    ]


def test_more_than_64_rules_use_more_words() -> None:
    program = program_of(*(rule(f"event.x == {number}", "1", order=number + 1) for number in range(70)))
    ruleset = compile_program(program, [PTS], kernel=False)
    rows = [Row(event={"x": Decimal(number)}) for number in (0, 63, 64, 69)]
    pool = Pool()
    found = run_kernel(ruleset, rows, pool, interpreted(ruleset.programs[0].source))
    assert found == run_closures(ruleset, rows, pool)
    assert [proposed.words[:2] for proposed in found if proposed] == [(1, 0), (1 << 63, 0), (0, 1), (0, 32)]


def test_references_are_checked_by_their_text() -> None:
    program = program_of(rule("true", "1", reference_id="event.t"), rule("true", "1", reference_id="'A-1'", order=2))
    ruleset = compile_program(program, [PTS], kernel=False)
    texts: list[Any] = ["r", "", "x" * 255, "x" * 256, None, Decimal(1)]
    rows = [*(Row(event={"t": text}) for text in texts), Row(event={})]
    pool = Pool()
    found = run_kernel(ruleset, rows, pool, interpreted(ruleset.programs[0].source))
    assert found == run_closures(ruleset, rows, pool)
    assert [proposed.effects[0][9] for proposed in found if proposed] == [0, 69, 0, 69, 69, 69, 0]
    assert [proposed.effects[0][5] for proposed in found if proposed] == [0, 0, 0, 0, 0, 0, 60]


@pytest.mark.parametrize(
    ("amount", "code"),
    [("event.x", 0), ("event.t", 63), ("event.missing", 60), ("event.f", 63), ("event.t + 1", 60), ("event.z", 63)],
)
def test_an_amount_that_is_no_number_has_a_code(amount: str, code: int) -> None:
    ruleset = compile_program(program_of(rule("true", amount)), [PTS], kernel=False)
    rows = [Row(event={"x": Decimal("-1.5"), "t": "a", "f": True, "z": None})]
    pool = Pool()
    found = run_kernel(ruleset, rows, pool, interpreted(ruleset.programs[0].source))
    assert found == run_closures(ruleset, rows, pool)
    assert [proposed.effects[0][5] for proposed in found if proposed] == [code]


def test_a_second_start_loads_machine_code_instead_of_compiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where NUMBA_CACHE_DIR is set, numba keeps its part of the cache there and not beside the module.
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    program = program_of(rule("event.x > 0", "1"))
    first = compile_program(program, [PTS], cache_directory=tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    second = compile_program(program, [PTS], cache_directory=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files
    assert [path.name for path in files if path.suffix == ".nbc" and "propose-" in path.name]
    for ruleset in (first, second):
        (found,) = run_kernel(ruleset, [Row(event={"x": Decimal(1)})], Pool())
        assert found is not None
        assert found.words[0] == 1


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    ruleset = compile_program(program_of(rule("event.x > 0", "1")), [PTS], cache_directory=blocked)
    (found,) = run_kernel(ruleset, [Row(event={"x": Decimal(1)})], Pool())
    assert found is not None
