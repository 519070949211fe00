"""One rule on one event without a book (§21.1): every action type, and errors that are shown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from earnbook.rules.definitions import load_definitions
from earnbook.rules.simulate import Simulation, render_simulation, simulate_rule
from earnbook.rules.simulate_state import StateError, read_state
from earnbook.rules.tiers import json_value
from tests.support.definition_files import HEAD

NOW = 1_769_882_400_000_000
TIERS = """\
group_field: group_id
tiers:
  - key: status
    display_name: Status
    levels: [{key: silver, rank: 1, benefits: {multiplier: 2}}, {key: gold, rank: 2}]
"""


def simulate(
    tmp_path: Path, condition: str, *actions: str, event: Any = None, state: Any = None, stop: bool = False
) -> Simulation:
    """A rule of these parts on an event."""
    quoted = condition.replace("'", "''")
    rules = f"rules:\n  - key: base\n    name: Base\n    order: 7\n    condition: '{quoted}'\n    actions:\n"
    rules += "".join(f"      - {action}\n" for action in actions or ("{type: CREDIT, asset: PTS, amount: 5}",))
    file = tmp_path / "rules.yaml"
    file.write_text(HEAD + indent(TIERS + rules + f"    stop_after_match: {'true' if stop else 'false'}\n", "    "))
    definitions = load_definitions(file)
    program = definitions.program("loyalty")
    assert program is not None
    given = read_state(state or {}, program)
    data = json_value(event or {})
    assert isinstance(data, dict)
    scope = given.scope(program, definitions.organization.id, data, NOW)
    assets = {asset.symbol: asset for asset in definitions.assets}
    return simulate_rule(program, program.rules[0], assets, scope, given)


def action(tmp_path: Path, text: str, *, event: Any = None, state: Any = None) -> dict[str, Any]:
    """The result of one action of a rule that matches."""
    simulation = simulate(tmp_path, "true", text, event=event, state=state)
    (result,) = simulation.actions
    return result.document()


def part(document: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(document[name] for name in names)


# --- conditions -----------------------------------------------------------------------------------------------------


def test_a_result_names_the_rule(tmp_path: Path) -> None:
    document = simulate(tmp_path, "event.amount > 5", event={"amount": 6}, stop=True).document()
    rule = document["rule"]
    assert isinstance(rule, dict)
    assert len(rule.pop("id")) == 36
    assert rule == {"name": "Base", "condition": "event.amount > 5", "order": 7, "stop_after_match": True}
    assert (document["matched"], document["status"], document["reason"]) == (True, "evaluated", None)


def test_a_rule_that_does_not_match_has_no_actions(tmp_path: Path) -> None:
    simulation = simulate(tmp_path, "event.amount > 5", event={"amount": 5})
    assert (simulation.matched, simulation.status, simulation.actions) == (False, "evaluated", ())


@pytest.mark.parametrize(
    "condition, event, reason",
    [
        ("event.a.b > 5", {"a": {}}, "there is no field 'b' in `event.a.b`"),
        ("event.amount > 5", {"amount": "6"}, "in `event.amount > 5`"),
        ("event.flag", {"flag": 1}, "the condition gives 1, and must give true or false"),
        ("event.flag", {"flag": None}, "the condition gives null"),
        ("event.flag", {"flag": []}, "the condition gives a list"),
        ("event.l.all(x, event.l.all(y, true))", {"l": [1] * 400}, "100,000"),
    ],
)
def test_an_error_of_the_condition_is_shown_and_not_false(
    tmp_path: Path, condition: str, event: Any, reason: str
) -> None:
    simulation = simulate(tmp_path, condition, event=event)
    assert (simulation.matched, simulation.status, simulation.actions) == (False, "condition_failed", ())
    assert simulation.reason is not None
    assert reason in simulation.reason


def test_a_suspended_rule_can_be_tried(tmp_path: Path) -> None:
    simulate(tmp_path, "true")
    file = tmp_path / "rules.yaml"
    file.write_text(file.read_text() + "        status: SUSPENDED\n")
    definitions = load_definitions(file)
    program = definitions.programs[1]
    state = read_state({}, program)
    scope = state.scope(program, definitions.organization.id, {}, NOW)
    assets = {asset.symbol: asset for asset in definitions.assets}
    assert simulate_rule(program, program.rules[0], assets, scope, state).matched


# --- state ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        "'vip' in participant.tags && participant.tags == ['a', 'vip']",
        "participant.counters.n == 1.5 && participant.counters.m == 2",
        "participant.attributes.city == 'Berlin' && participant.attributes.none == ''",
        "participant.tiers.status.level == 'silver' && participant.tiers.status.rank == 1",
        "participant.tiers.status.benefits.multiplier == 2.0 && participant.tiers.status.acquired_at == null",
        "participant.tiers.status.expires_at == timestamp('2026-06-01T00:00:00Z')",
        "participant.external_id == 'alice' && participant.id == '5f4d6c80-b779-5174-9e3e-37d6ea331a70'",
        "participant.status == 'ACTIVE' && program.key == 'loyalty' && program.status == 'ACTIVE'",
        "program.counters.n == 7 && 'open' in program.tags && group.key == 'smith' && group.counters.n == 8",
        "now == timestamp('2026-01-31T18:00:00Z')",
    ],
)
def test_the_condition_sees_the_state(tmp_path: Path, condition: str) -> None:
    state = {
        "external_id": "alice",
        "tags": ["VIP", "a"],
        "counters": {"n": Decimal("1.5"), "m": "2"},
        "attributes": {"city": "Berlin", "none": ""},
        "tiers": {"status": {"level": "silver", "expires_at": "2026-06-01T00:00:00Z"}},
        "program": {"counters": {"n": 7}, "tags": ["open"]},
        "group": {"key": "smith", "counters": {"n": 8}},
    }
    simulation = simulate(tmp_path, condition, state=state)
    assert (simulation.matched, simulation.reason) == (True, None)


def test_without_state_everything_is_empty(tmp_path: Path) -> None:
    empty = "participant.tags == [] && participant.counters == {} && participant.tiers == {} && group.tags == []"
    assert simulate(tmp_path, empty).matched


def test_a_tier_may_be_the_key_of_its_level(tmp_path: Path) -> None:
    assert simulate(tmp_path, "participant.tiers.status.rank == 2", state={"tiers": {"status": "gold"}}).matched


@pytest.mark.parametrize(
    "state, message",
    [
        ([], "the state is a JSON object"),
        ({"tag": []}, "did you mean `tags`"),
        ({"tags": "vip"}, "tags is a list of texts"),
        ({"tags": [1]}, "tags is a text in quotes"),
        ({"counters": {"n": True}}, "counters.n is a number"),
        ({"counters": {"n": "many"}}, "counters.n is a number"),
        ({"counters": {"n": "NaN"}}, "counters.n is a number"),
        ({"attributes": {"a": 5}}, "attributes.a is a text in quotes"),
        ({"status": "active"}, "did you mean `ACTIVE`"),
        ({"tiers": {"statis": "gold"}}, "did you mean `status`"),
        ({"tiers": {"status": "platin"}}, "no level 'platin'"),
        ({"tiers": {"status": {"level": "gold", "expires_at": "soon"}}}, "tiers.status.expires_at"),
        ({"program": {"tiers": {}}}, "program has no member 'tiers'"),
        ({"group": {"tags": 5}}, "group.tags is a list"),
    ],
)
def test_a_state_that_means_nothing_is_refused(tmp_path: Path, state: Any, message: str) -> None:
    simulate(tmp_path, "true")
    program = load_definitions(tmp_path / "rules.yaml").programs[1]
    with pytest.raises(StateError, match=message):
        read_state(state, program)


# --- actions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, amount",
    [
        ("{type: CREDIT, asset: PTS, amount: 'round(event.amount * 0.03, 2)'}", "1.50"),
        ("{type: DEBIT, asset: USD, amount: event.amount}", "49.99"),
        ("{type: HOLD, asset: PTS, amount: 5}", "5.00"),
        ("{type: RELEASE, asset: PTS, amount: 5}", "5.00"),
        ("{type: RELEASE, asset: PTS}", None),
        ("{type: FORFEIT, asset: PTS}", None),
        ("{type: FORFEIT, asset: PTS, amount: 0.5}", "0.50"),
    ],
)
def test_money_has_an_amount_and_an_asset(tmp_path: Path, text: str, amount: str | None) -> None:
    document = action(tmp_path, text, event={"amount": Decimal("49.99")})
    assert part(document, "status", "outcome", "amount") == ("evaluated", "OK", amount)
    assert document["asset_symbol"] == ("USD" if "USD" in text else "PTS")


@pytest.mark.parametrize(
    "amount, outcome, reason",
    [
        ("event.none", "EXPRESSION_ERROR", "there is no field 'none'"),
        ("event.l.map(x, event.l.map(y, y)).size()", "EXPRESSION_LIMIT", "100,000"),
        ("event.text", "INVALID_AMOUNT", "the amount is the text 'x'"),
        ("1.0 / event.zero", "INVALID_AMOUNT", "a finite number"),
        ("event.zero - 1", "AMOUNT_NOT_POSITIVE", "the amount is -1"),
        ("event.zero + 0.005", "AMOUNT_EXCEEDS_SCALE", "more decimals than the 2 of PTS"),
        ("92233720368547758.08", "AMOUNT_OVERFLOW", "more than any account"),
    ],
)
def test_an_amount_that_fails_says_why(tmp_path: Path, amount: str, outcome: str, reason: str) -> None:
    event = {"text": "x", "zero": 0, "l": [1] * 400}
    document = action(tmp_path, f"{{type: CREDIT, asset: PTS, amount: '{amount}'}}", event=event)
    assert part(document, "status", "outcome") == ("failed", outcome)
    assert reason in document["reason"]
    assert "amount" not in document


def test_an_amount_of_zero_has_no_effect(tmp_path: Path) -> None:
    document = action(tmp_path, "{type: CREDIT, asset: PTS, amount: 0}")
    assert part(document, "status", "outcome", "amount") == ("evaluated", "NO_EFFECT", "0.00")


def test_a_reference_is_shown_or_refused(tmp_path: Path) -> None:
    text = "{type: HOLD, asset: PTS, amount: 5, reference_id: event.order}"
    assert action(tmp_path, text, event={"order": "A-1"})["reference_id"] == "A-1"
    document = action(tmp_path, text, event={"order": ""})
    assert part(document, "status", "outcome") == ("failed", "INVALID_REFERENCE")


def test_a_counter_has_current_and_projected_value(tmp_path: Path) -> None:
    text = "{type: COUNTER, key: spend, value: event.amount}"
    document = action(tmp_path, text, event={"amount": Decimal("2.50")}, state={"counters": {"spend": 10}})
    assert part(document, "current_value", "projected_value", "would_change") == ("10", "12.5", True)
    absent = action(tmp_path, text, event={"amount": -1})
    assert part(absent, "current_value", "projected_value") == ("0", "-1")
    assert part(action(tmp_path, text, event={"amount": 0}), "outcome", "would_change") == ("NO_EFFECT", False)


@pytest.mark.parametrize(
    "value, outcome",
    [("event.text", "INVALID_VALUE"), ("event.big", "COUNTER_OUT_OF_RANGE"), ("event.tiny", "COUNTER_OUT_OF_RANGE")],
)
def test_a_counter_that_fails(tmp_path: Path, value: str, outcome: str) -> None:
    event = {"text": "x", "big": Decimal("1e20"), "tiny": Decimal("1e-19")}
    assert action(tmp_path, f"{{type: COUNTER, key: n, value: {value}}}", event=event)["outcome"] == outcome


@pytest.mark.parametrize(
    "text, tags, name, changes",
    [
        ("{type: TAG, tag: VIP}", ["a"], "would_add", True),
        ("{type: TAG, tag: VIP}", ["vip"], "would_add", False),
        ("{type: UNTAG, tag: VIP}", ["a", "vip"], "would_remove", True),
        ("{type: UNTAG, tag: VIP}", ["a"], "would_remove", False),
    ],
)
def test_tags_before_and_what_would_change(
    tmp_path: Path, text: str, tags: list[str], name: str, changes: bool
) -> None:
    document = action(tmp_path, text, state={"tags": tags})
    assert part(document, "tag", "current_tags", name, "would_change") == ("vip", tags, changes, changes)
    assert document["outcome"] == ("OK" if changes else "NO_EFFECT")


@pytest.mark.parametrize(
    "value, projected",
    [
        ("literal text", "literal text"),
        ("'= event.amount * 2'", "5"),
        ("'= event.amount > 2'", "true"),
        ("= now", "2026-01-31T18:00:00Z"),
        ("''", ""),
    ],
)
def test_an_attribute_has_current_and_projected_text(tmp_path: Path, value: str, projected: str) -> None:
    text = f"{{type: SET_ATTRIBUTE, key: a, value: {value}}}"
    document = action(tmp_path, text, event={"amount": Decimal("2.5")}, state={"attributes": {"a": "before"}})
    assert part(document, "current_value", "projected_value", "would_change") == ("before", projected, True)
    same = action(tmp_path, text, event={"amount": Decimal("2.5")}, state={"attributes": {"a": projected}})
    assert part(same, "outcome", "would_change") == ("NO_EFFECT", False)


def test_an_attribute_cannot_be_a_list(tmp_path: Path) -> None:
    document = action(tmp_path, "{type: SET_ATTRIBUTE, key: a, value: '= event.l'}", event={"l": [1]})
    assert part(document, "status", "outcome") == ("failed", "INVALID_VALUE")


@pytest.mark.parametrize(
    "text, description",
    [
        ("{type: SET_TIER, tier: status, level: gold}", "puts the event's participant on level gold of status"),
        ("{type: SET_TIER, tier: status, level: base}", "back to the base level of status"),
        ("{type: SCHEDULE_EVENT, event_name: check, delay: 24h}", "sends event check for the event's participant"),
        ("{type: BROADCAST, event_name: holiday}", "sends event holiday for every active participant"),
    ],
)
def test_some_actions_are_only_described(tmp_path: Path, text: str, description: str) -> None:
    document = action(tmp_path, text)
    assert part(document, "status", "outcome") == ("described", "OK")
    assert description in document["description"]
    assert set(document) == {"index", "type", "status", "outcome", "description", "reason"}


def test_void_hold_is_not_supported(tmp_path: Path) -> None:
    document = action(tmp_path, "{type: VOID_HOLD, asset: PTS, reference_id: event.none}")
    assert document["status"] == "unsupported"
    assert "lots" in document["reason"]


@pytest.mark.parametrize(
    "target, shown",
    [
        ("{type: PARTICIPANT, external_id: event.friend}", "bob"),
        ("{type: GROUP, id: event.friend}", "bob"),
        ("{type: PROGRAM}", "PROGRAM"),
    ],
)
def test_state_of_others_is_not_projected(tmp_path: Path, target: str, shown: str) -> None:
    for text in ("type: COUNTER, key: n, value: 1", "type: TAG, tag: vip", "type: SET_ATTRIBUTE, key: a, value: x"):
        document = action(tmp_path, f"{{{text}, target: {target}}}", event={"friend": "bob"})
        assert part(document, "target", "status") == (shown, "evaluated")
        assert not {"current_value", "current_tags", "would_change", "would_add"} & set(document)


@pytest.mark.parametrize(
    "event, outcome",
    [
        ({}, "EXPRESSION_ERROR"),
        ({"f": ""}, "TARGET_MISSING"),
        ({"f": None}, "TARGET_MISSING"),
        ({"f": "x" * 256}, "EXPRESSION_ERROR"),
        ({"f": 5}, "EXPRESSION_ERROR"),
    ],
)
def test_a_target_that_fails(tmp_path: Path, event: Any, outcome: str) -> None:
    text = "{type: TAG, tag: vip, target: {type: PARTICIPANT, external_id: event.f}}"
    assert part(action(tmp_path, text, event=event), "status", "outcome") == ("failed", outcome)


def test_actions_see_the_state_before_the_event(tmp_path: Path) -> None:
    count = "{type: COUNTER, key: n, value: 1}"
    simulation = simulate(tmp_path, "true", count, count, state={"counters": {"n": 4}})
    assert [result.values["projected_value"] for result in simulation.actions] == ["5", "5"]
    assert [result.index for result in simulation.actions] == [0, 1]


def test_people_get_a_line_for_each_action(tmp_path: Path) -> None:
    actions = ("{type: TAG, tag: vip}", "{type: CREDIT, asset: PTS, amount: event.none}")
    lines = render_simulation(simulate(tmp_path, "true", *actions, stop=True)).splitlines()
    assert lines == [
        "rule base: Base (order 7, a match stops later rules)",
        "condition  true",
        "matched    yes",
        "action 0   TAG: adds tag vip to the event's participant",
        "           tag vip, current_tags [], would_add yes, would_change yes",
        "action 1   CREDIT: credits PTS of the event's participant in AVAILABLE",
        "           EXPRESSION_ERROR: there is no field 'none' in `event.none`",
    ]
