"""The plan: what expressions read, how SET_ATTRIBUTE reads, what couples participants, and how columns are numbered."""

from __future__ import annotations

from typing import Any

import pytest

from earnbook.ledger.schema import ActionType
from earnbook.rules.models import Asset
from earnbook.rules.parse import parse_expression
from earnbook.rules.plan import attribute_value, plan_program
from earnbook.rules.plan_columns import Inventory, LookupTable
from earnbook.rules.plan_reads import EventColumn, outermost_macros, reads_of, unparse
from earnbook.rules.syntax import Expression
from tests.support.kernel_programs import PTS, program_of, rule

COINS = Asset.model_validate(
    {
        "symbol": "COINS",
        "name": "Coins",
        "scale": 2,
        "inventory_mode": "SIMPLE",
        "issuance_policy": "PREFUNDED",
        "programs": ["p"],
    }
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("event.a.b > event['c']", ("event.a.b", "event.c")),
        ("has(event.a.b)", ("event.a", "event.a.b")),
        ("now > timestamp('2026-01-01T00:00:00Z')", ("now",)),
        ("now() > now", ("now",)),
        ("get(participant.counters, 'n', 0) > 1", ("participant.counters",)),
        ("participant.counters.n > 1 && 'x' in program.tags", ("participant.counters.n", "program.tags")),
        ("event.items.exists(item, item.price > event.limit)", ("event.items", "event.limit")),
        ("[1].exists(event, event > 0)", ()),
        ("[1].exists(event, .event.x > event)", ("event.x",)),
        ("size(event) > 1", ("event",)),
        ("event.a[event.b]", ("event.a", "event.b")),
        ("1 + 2 == 3", ()),
    ],
)
def test_reads_are_the_fields_that_decide_the_value(text: str, names: tuple[str, ...]) -> None:
    assert reads_of(parse_expression(text).root).names() == names


def test_only_event_and_now_can_be_precomputed() -> None:
    assert reads_of(parse_expression("event.a > 1 && now.getHours() == 1").root).event_only
    assert not reads_of(parse_expression("event.a > participant.counters.n").root).event_only
    assert reads_of(parse_expression("1 + 1").root).constant
    assert not reads_of(parse_expression("size(event)").root).constant


def test_only_outermost_macros_count() -> None:
    text = "event.a.all(x, x.b.exists(y, y > 1)) && event.c.exists(z, z > 1)"
    assert outermost_macros(parse_expression(text).root) == 2


def test_equal_texts_mean_equal_expressions() -> None:
    one, other = (parse_expression(text).root for text in ("event.a+1  ==  2", "(event.a + 1) == 2"))
    assert unparse(one) == unparse(other)
    assert unparse(parse_expression("1 + 1").root) != unparse(parse_expression("1.0 + 1").root)
    assert unparse(parse_expression("'1'").root) != unparse(parse_expression("1").root)


@pytest.mark.parametrize(
    ("text", "is_expression"),
    [
        ("gold", False),
        ("event.tier", True),
        ("=1 + 1", True),
        ("1 + 1", False),
        ("string(now)", True),
        ("it's event.x", False),
        ("", False),
        ("participant.attributes.city", True),
    ],
)
def test_an_attribute_value_is_an_expression_when_it_mentions_a_variable(text: str, is_expression: bool) -> None:
    assert isinstance(attribute_value(text), Expression) is is_expression


def test_rules_stand_in_order_and_actions_are_numbered_through() -> None:
    program = program_of(rule("true", "1", order=20), rule("true", "2", order=10), rule("true", "3", status="ARCHIVED"))
    plan = plan_program(program, {"PTS": PTS})
    assert [planned.definition.order for planned in plan.rules] == [10, 20]
    assert [(action.number, action.rule, action.index) for action in plan.actions] == [(0, 0, 0), (1, 1, 0)]
    assert plan.actions[0].type is ActionType.CREDIT
    assert not plan.couples


def _with_action(**action: Any) -> dict[str, Any]:
    return {"key": "r", "name": "r", "order": 1, "condition": "true", "actions": [action]}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (rule("program.counters.n > 1", "1"), "rule r1 reads program.counters.n"),
        (_with_action(type="COUNTER", key="n", value="1", target={"type": "PROGRAM"}), "rule r changes the program"),
        (_with_action(type="CREDIT", asset_id="COINS", amount="1"), "rule r moves COINS"),
        (
            _with_action(type="TAG", tag="x", target={"type": "PARTICIPANT", "external_id": "event.friend"}),
            "rule r acts on another participant",
        ),
        (
            _with_action(type="TAG", tag="x", target={"type": "GROUP", "id": "'smith'"}),
            "rule r acts on another participant or a group",
        ),
        (rule("has(group.status)", "1"), "rule r1 reads group.status"),
        (rule("size(program.tags) > 0", "1"), "rule r1 reads program.tags"),
        (_with_action(type="BROADCAST", event_name="hello"), "rule r sends events to all participants"),
        (_with_action(type="SCHEDULE_EVENT", event_name="hello", delay="1h"), "rule r sends later events"),
        (rule("true", "1", budgets=[{"asset_id": "PTS", "limit": "100"}]), "rule r1 has a budget"),
    ],
)
def test_what_couples_participants_is_named(fields: dict[str, Any], reason: str) -> None:
    plan = plan_program(program_of(fields), {"PTS": PTS, "COINS": COINS})
    assert plan.couples
    assert [shown.startswith(reason) for shown in plan.coupling] == [True]


def test_the_key_of_the_program_couples_nobody() -> None:
    assert not plan_program(program_of(rule("program.key == 'p'", "1")), {"PTS": PTS}).couples


def test_an_inventory_numbers_equal_columns_once_and_forgets_after_a_mark() -> None:
    inventory = Inventory()
    assert [inventory.event_column(EventColumn((name,))) for name in ("a", "b", "a")] == [0, 1, 0]
    mark = inventory.mark()
    inventory.event_column(EventColumn(("c",)))
    inventory.table(LookupTable("t", parse_expression("event == 'a'")))
    inventory.rollback(mark)
    assert inventory.columns == (EventColumn(("a",)), EventColumn(("b",)))
    assert not inventory.tables
