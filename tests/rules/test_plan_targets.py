"""Targets and groups in rules: what kernel and closures propose, what can be looked up for a whole batch (§12.2)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from earnbook.ledger.schema import FX_TARGET, FX_TARGET_CODE, FX_TARGET_KIND, Outcome, TargetKind
from earnbook.rules.compile import CompiledRuleset, compile_program
from earnbook.rules.kernel_values import Unsupported
from earnbook.rules.plan_reads import EventColumn
from earnbook.rules.plan_targets import NamedTargets, named_targets
from tests.support.kernel_programs import PTS, program_of, rule
from tests.support.kernel_rows import Entity, Pool, Row, interpreted, run_closures, run_kernel

UUID = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
EVENTS: tuple[dict[str, Any], ...] = (
    {"who": "bob", "other": "carol", "n": Decimal(1)},
    {"who": "", "n": Decimal(2)},
    {"who": None},
    {"who": Decimal(5)},
    {"who": True},
    {"who": ["bob"]},
    {"who": {"id": "bob"}},
    {},
)


def tag_program(**target: Any) -> CompiledRuleset:
    """One rule that tags a target; nothing is compiled."""
    fields = {"key": "r", "name": "r", "order": 1, "condition": "true"}
    action = {"type": "TAG", "tag": "x", "target": target}
    return compile_program(program_of({**fields, "actions": [action]}), (PTS,), kernel=False)


def proposed(ruleset: CompiledRuleset, rows: list[Row]) -> list[tuple[int, int, str | None]]:
    """Target code, kind and text of the first effect of each row; the kernel agrees with the closures or bails out."""
    pool = Pool()
    kernel = run_kernel(ruleset, rows, pool, interpreted(ruleset.programs[0].source))
    closures = run_closures(ruleset, rows, pool)
    assert [mine or other for mine, other in zip(kernel, closures, strict=True)] == closures
    assert any(kernel), "the kernel never decided"
    texts = {code: text for text, code in pool.codes.items()}
    found = []
    for row in closures:
        # Effects come as (value, scale, then the columns without FX_VALUE, FX_VALUE_HIGH and FX_VALUE_SCALE).
        cells = row.effects[0][2:]
        code, kind = cells[FX_TARGET_CODE], cells[FX_TARGET_KIND - 3]
        found.append((int(code), int(kind), texts.get(int(cells[FX_TARGET])) if kind else None))
    return found


def test_a_target_is_a_text_or_says_why_there_is_none() -> None:
    ruleset = tag_program(type="PARTICIPANT", external_id="event.who")
    missing, error = (Outcome.TARGET_MISSING, 0, None), (Outcome.EXPRESSION_ERROR, 0, None)
    expected = [(Outcome.OK, TargetKind.EXTERNAL_ID, "bob"), missing, missing, *[error] * 5]
    assert proposed(ruleset, [Row(event=event) for event in EVENTS]) == expected


@pytest.mark.parametrize(
    ("target", "kind", "text"),
    [
        ({"type": "PARTICIPANT", "external_id": "'carol'"}, TargetKind.EXTERNAL_ID, "carol"),
        ({"type": "PARTICIPANT", "participant_id": f"'{UUID}'"}, TargetKind.PARTICIPANT_ID, UUID),
        ({"type": "PARTICIPANT", "id": UUID}, TargetKind.PARTICIPANT_ID, UUID),
        ({"type": "GROUP", "id": "'smith'"}, TargetKind.GROUP, "smith"),
        ({"type": "GROUP", "id": UUID}, TargetKind.GROUP, UUID),
    ],
)
def test_constants_and_ids_name_a_target(target: dict[str, Any], kind: TargetKind, text: str) -> None:
    ruleset = tag_program(**target)
    assert proposed(ruleset, [Row(event={})]) == [(0, kind, text)]
    assert named_targets(ruleset.programs[0].plan, ruleset.columns) == ((NamedTargets(kind=kind, text=text),), None)


@pytest.mark.parametrize("expression", ["null", "5", "1 / 0 == 1", "''", "event.n > 1 ? 'a' : null", "true"])
def test_what_is_no_text_means_the_same_in_both_engines(expression: str) -> None:
    ruleset = tag_program(type="PARTICIPANT", external_id=expression)
    rows = [Row(event=event) for event in EVENTS]
    codes = {code for code, _, _ in proposed(ruleset, rows)}
    assert codes <= {Outcome.OK, Outcome.TARGET_MISSING, Outcome.EXPRESSION_ERROR}
    assert codes & {Outcome.TARGET_MISSING, Outcome.EXPRESSION_ERROR}


def test_state_may_name_a_target() -> None:
    ruleset = tag_program(type="PARTICIPANT", external_id="participant.attributes.referrer")
    rows = [Row(event={}, participant=Entity(attributes={"referrer": "bob"})), Row(event={})]
    expected = [(0, TargetKind.EXTERNAL_ID, "bob"), (Outcome.EXPRESSION_ERROR, 0, None)]
    assert proposed(ruleset, rows) == expected
    assert named_targets(ruleset.programs[0].plan, ruleset.columns) == ((), None)


def test_a_field_an_expression_and_branches_are_looked_up_for_a_batch() -> None:
    for expression, columns in (
        ("event.who", ["event.who"]),
        ("'p-' + event.who", ["('p-' + event.who)"]),
        ("event.n > 1 ? event.who : event.other", ["event.who", "event.other"]),
    ):
        ruleset = tag_program(type="PARTICIPANT", external_id=expression)
        named, _ = named_targets(ruleset.programs[0].plan, ruleset.columns)
        assert [str(ruleset.columns[target.column or 0]) for target in named] == columns
        proposed(ruleset, [Row(event=event) for event in EVENTS[:2]])


def test_a_status_as_target_is_left_to_the_closures() -> None:
    ruleset = tag_program(type="PARTICIPANT", external_id="participant.status")
    (note,) = ruleset.programs[0].notes[0]
    assert note.why == str(Unsupported("a status is only compared with constants"))


# --- groups ---------------------------------------------------------------------------------------------------------


def group_program(condition: str) -> CompiledRuleset:
    program = program_of(rule(condition, "1")).model_copy(update={"group_field": "team"})
    return compile_program(program, (PTS,), kernel=False)


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("group.counters.c > 1", [True, False, False]),
        ("get(group.counters, 'c', 0.0) == 0", [False, True, True]),
        ("has(group.counters.c)", [True, False, False]),
        ("'c' in group.counters", [True, False, False]),
        ("group.attributes.city == 'Ulm'", [True, False, False]),
        ("get(group.attributes, 'city', 'none') == 'none'", [False, True, True]),
        ("'gold' in group.tags", [True, False, False]),
        ("!('gold' in group.tags)", [False, True, True]),
        ("group.status == 'ARCHIVED'", [False, True, False]),
        ("has(group.status)", [True, True, False]),
        ("size(group.tiers) == 0", [False, False, True]),
    ],
)
def test_the_state_of_the_group_is_read_and_empty_without_one(condition: str, matches: list[bool]) -> None:
    ruleset = group_program(condition)
    rich = Entity(counters={"c": Decimal(2)}, tags=("gold",), attributes={"city": "Ulm"})
    rows = [Row(event={}, group=group) for group in (rich, Entity(status="ARCHIVED"), None)]
    pool = Pool()
    closures = run_closures(ruleset, rows, pool)
    assert [bool(row.effects) for row in closures] == matches
    kernel = run_kernel(ruleset, rows, pool, interpreted(ruleset.programs[0].source))
    assert [mine or other for mine, other in zip(kernel, closures, strict=True)] == closures
    assert all(kernel) or ".tiers" in condition or "has(group.status)" in condition


def test_the_group_field_is_a_column_where_rules_read_the_group() -> None:
    ruleset = group_program("group.counters.c > 1")
    assert ruleset.columns == (EventColumn(("team",)),)
    assert named_targets(ruleset.programs[0].plan, ruleset.columns) == ((), 0)
    assert ruleset.programs[0].plan.coupling == ("rule r1 reads group.counters.c",)
    assert group_program("true").programs[0].plan.group_column is None
