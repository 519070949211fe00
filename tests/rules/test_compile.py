"""Compiled rulesets: shared numbering, precomputed columns, lookup tables, and the reference proposal of a row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from earnbook.ledger.schema import FX_COLUMNS, WORD_SECTIONS, Kind, Outcome
from earnbook.rules.compile import compile_program, compile_ruleset, look_up, precompute
from earnbook.rules.definitions import Definitions
from earnbook.rules.parse import parse_expression
from earnbook.rules.plan_columns import LookupTable
from earnbook.rules.plan_reads import EventColumn
from earnbook.rules.proposal import ExactNumber, RowProposal, attribute_cell, exact_number
from earnbook.rules.values import CelError, CelLimit, Timestamp
from tests.support.kernel_programs import PTS, attribute_program, program_of, rule
from tests.support.kernel_rows import NOW, Entity


def _proposal(*rules: dict[str, Any], event: dict[str, Any] | None = None, processed_at: int = NOW) -> RowProposal:
    program = compile_program(program_of(*rules), [PTS], kernel=False).programs[0]
    state = Entity().scope(NOW)
    return program.propose_row(event or {}, state, state, NOW, processed_at)


def test_programs_of_a_ruleset_share_columns_and_tables() -> None:
    one = program_of(rule("event.a > 1 && event.t.startsWith('x')", "1"))
    other = program_of(rule("event.b > 1 && event.a > 2 && event.t.startsWith('x')", "size(event.l)"))
    document = Definitions(
        organization=None,  # type: ignore[arg-type]
        assets=(PTS,),
        programs=(one, other.model_copy(update={"key": "q"})),
        sources={},
        document="",
        hash="",
    )
    ruleset = compile_ruleset(document, kernel=False)
    assert [str(column) for column in ruleset.columns] == ["event.a", "event.t", "event.b", "size(event.l)"]
    assert len(ruleset.tables) == 1
    assert "P0 = 3" in ruleset.program("q").source
    with pytest.raises(KeyError):
        ruleset.program("r")


def test_a_program_without_rules_proposes_nothing() -> None:
    ruleset = compile_program(program_of(), [PTS], kernel=False)
    proposal = ruleset.programs[0].propose_row({}, {}, {}, NOW, NOW)
    words = np.full(WORD_SECTIONS, 1, dtype=np.uint64)
    count = proposal.write(np.zeros((1, FX_COLUMNS), dtype=np.int64), words, program_slot=0, code_of=len)
    assert count == 0
    assert words.tolist() == [0] * WORD_SECTIONS


def test_precomputed_values_are_computed_once_per_distinct_input() -> None:
    ruleset = compile_program(attribute_program(["size(event.t)"]), [PTS], kernel=False)
    (column,) = ruleset.precomputed_columns
    assert column.reads == (EventColumn(("t",)),)
    events: list[dict[str, Any]] = [{"t": "abc"}, {"t": "abc"}, {}, {"t": Decimal(1)}, {"t": True}, {"t": [1, 2]}]
    values = list(precompute(column, events, [NOW] * len(events)))
    assert values[:2] == [3, 3]
    assert all(isinstance(value, CelError) for value in values[2:5])
    assert values[5] == 2


def test_a_missing_object_and_a_missing_member_are_not_mixed_up() -> None:
    ruleset = compile_program(attribute_program(["[has(event.m.x)][0]"]), [PTS], kernel=False)
    (column,) = ruleset.precomputed_columns
    events: list[dict[str, Any]] = [{"m": {}}, {}, {"m": {"x": None}}, {"m": "text"}]
    missing, error, present, wrong = precompute(column, events, [NOW] * 4)
    assert (missing, present) == (False, True)
    assert isinstance(error, CelError)
    assert isinstance(wrong, CelError)


def test_several_macros_of_one_expression_are_computed_as_one() -> None:
    """Their elements count against one limit (§11.5)."""
    text = "event.l.all(x, x > 0) && event.l.exists(x, x > 1)"
    ruleset = compile_program(attribute_program([text]), [PTS], kernel=False)
    (column,) = ruleset.precomputed_columns
    assert column.text.count("event.l") == 2
    (value,) = precompute(column, [{"l": [Decimal(2)] * 60_000}], [NOW])
    assert isinstance(value, CelLimit)


def test_a_lookup_table_answers_per_text() -> None:
    table = LookupTable("t", parse_expression("event.matches('^a+$')"))
    assert look_up(table, ["a", "aa", "b", ""]).tolist() == [1, 1, 0, 0]
    assert look_up(LookupTable("t", parse_expression("event + 'x'")), ["a"]).tolist() == [2]


def test_a_rule_is_matched_errored_outside_or_limited() -> None:
    proposal = _proposal(
        rule("event.x > 0", "1", order=1),
        rule("event.missing > 0", "1", order=2),
        rule("event.x", "1", order=3),
        rule("true", "1", order=4, active_to="2025-12-31T00:00:00Z"),
        rule("event.l.all(x, x > 0)", "1", order=5),
        rule("event.x < 0", "1", order=6),
        event={"x": Decimal(1), "l": [Decimal(1)] * 100_001},
    )
    assert proposal.matched == 0b000001
    assert proposal.errored == 0b000110
    assert proposal.outside == 0b001000
    assert proposal.limited == 0b010000
    assert len(proposal.effects) == 1


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("5", Outcome.OK),
        ("-1", Outcome.OK),
        ("1.0 / 0", Outcome.INVALID_AMOUNT),
        ("'5'", Outcome.INVALID_AMOUNT),
        ("event.missing", Outcome.EXPRESSION_ERROR),
        ("1 / 0", Outcome.EXPRESSION_ERROR),
        ("10 / 3.0", Outcome.AMOUNT_EXCEEDS_SCALE),
        ("-10 / 3.0", Outcome.AMOUNT_NOT_POSITIVE),
        ("1e300", Outcome.AMOUNT_OVERFLOW),
        ("1e40 + 0.001", Outcome.AMOUNT_EXCEEDS_SCALE),
    ],
)
def test_an_amount_that_the_books_cannot_be_given_has_its_outcome(amount: str, code: Outcome) -> None:
    (effect,) = _proposal(rule("true", amount)).effects
    assert effect.value_code is code


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("-3.5", Outcome.OK),
        ("'a'", Outcome.INVALID_VALUE),
        ("0.0 / 0", Outcome.INVALID_VALUE),
        ("1.0 / 3", Outcome.COUNTER_OUT_OF_RANGE),
        ("2e20", Outcome.COUNTER_OUT_OF_RANGE),
        ("150000000000000000000.0", Outcome.OK),
    ],
)
def test_a_counter_value_that_no_counter_can_take_has_its_outcome(value: str, code: Outcome) -> None:
    fields = rule("true", "1") | {"actions": [{"type": "COUNTER", "key": "n", "value": value}]}
    (effect,) = _proposal(fields).effects
    assert effect.value_code is code


def test_a_failing_reference_comes_before_a_wrong_amount() -> None:
    (effect,) = _proposal(rule("true", "'x'", reference_id="event.missing")).effects
    assert effect.value_code is Outcome.EXPRESSION_ERROR


def test_wide_numbers_are_written_as_two_words() -> None:
    proposal = _proposal(rule("true", "-100000000000000000000.5"))
    effects = np.zeros((1, FX_COLUMNS), dtype=np.int64)
    proposal.write(effects, np.zeros(WORD_SECTIONS, dtype=np.uint64), program_slot=0, code_of=len)
    low, high, scale = (int(cell) for cell in effects[0, 4:7])
    assert (high * 2**64 + low % 2**64, scale) == (-1_000_000_000_000_000_000_005, 1)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("gold", (Outcome.OK, Kind.TEXT, "gold")),
        (True, (Outcome.OK, Kind.BOOL, True)),
        (Decimal("1.50"), (Outcome.OK, Kind.NUMBER, ExactNumber(15, 1))),
        (-7, (Outcome.OK, Kind.NUMBER, ExactNumber(-7, 0))),
        (Decimal("1e20"), (Outcome.OK, Kind.TEXT, "100000000000000000000")),
        (Timestamp.from_microseconds(5), (Outcome.OK, Kind.TIMESTAMP, 5)),
        (None, (Outcome.INVALID_VALUE, Kind.ABSENT, None)),
        ([], (Outcome.INVALID_VALUE, Kind.ABSENT, None)),
        (Decimal("Infinity"), (Outcome.INVALID_VALUE, Kind.ABSENT, None)),
    ],
)
def test_an_attribute_value_becomes_a_typed_cell(value: Any, cell: tuple[Outcome, Kind, Any]) -> None:
    assert attribute_cell(value) == cell


def test_exact_numbers_have_no_trailing_zeros_and_fit_128_bits() -> None:
    assert exact_number(Decimal("0.00")) == ExactNumber(0, 0)
    assert exact_number(Decimal("1200")) == ExactNumber(1200, 0)
    assert exact_number(Decimal("1e-18")) == ExactNumber(1, 18)
    assert exact_number(Decimal("1e-19")) is None
    assert exact_number(Decimal(2**127 - 1)) == ExactNumber(2**127 - 1, 0)
    assert exact_number(Decimal(2**127)) is None
