"""`explain` says what a rule reads, writes and runs as, and names what is not accelerated, with the reason."""

from __future__ import annotations

import pytest

from earnbook.rules.compile import CompiledRuleset, compile_program
from earnbook.rules.explain import explain_rule
from tests.support.kernel_programs import PTS, program_of, rule


def _explained(*rules: dict[str, object], name: str = "r1") -> str:
    ruleset: CompiledRuleset = compile_program(program_of(*rules), [PTS], kernel=False)
    assert ruleset.programs[0].refused == "the kernel is switched off"
    return explain_rule(ruleset, "p", name)


def _section(text: str, title: str) -> list[str]:
    """The lines of one section, without indentation."""
    lines = text.splitlines()
    start = lines.index(title) + 1
    end = next((number for number in range(start, len(lines)) if not lines[number].strip()), len(lines))
    return [line.strip() for line in lines[start:end]]


def test_reads_and_writes_are_listed_by_name() -> None:
    text = _explained(
        rule("event.a.b > 1 && 'vip' in participant.tags && now > timestamp('2026-01-01T00:00:00Z')", "event.x * 2")
    )
    assert _section(text, "reads") == ["event.a.b", "event.x", "participant.tags", "now"]
    assert _section(text, "writes") == ["participant's PTS"]


def test_inputs_name_columns_and_lookup_tables_of_this_rule_only() -> None:
    text = _explained(
        rule("event.other > 1", "1", order=1),
        rule("event.mcc.startsWith('58')", "size(event.items)", order=2),
        name="r2",
    )
    assert _section(text, "inputs made once per batch") == [
        "E1: event column event.mcc",
        "P0: precomputed column, by the closures: size(event.items)",
        "T0: lookup table, once per distinct text (`event` is the text): event.startsWith('58')",
    ]


def test_what_is_not_accelerated_comes_with_its_reason() -> None:
    text = _explained(rule("event.x > 1", "participant.counters.n / event.x"))
    lines = _section(text, "not accelerated")
    assert lines[0] == "the program has no kernel, closures decide every event: the kernel is switched off"
    assert lines[1:] == [
        "action 0 (CREDIT)",
        "closures, row by row: a quotient can need 34 digits; round(a / b, n) is exact",
    ]


def test_events_that_may_be_left_to_the_closures_come_with_the_reasons_that_a_run_counts() -> None:
    text = _explained(rule("event.x > 1", "participant.counters.n / event.x"))
    lines = _section(text, "events left to the closures")
    assert [line.partition(":")[0] for line in lines] == ["NOT_IN_KERNEL", "WIDE_VALUE"]
    assert "events left to the closures" not in _explained(rule("true", "1"))


def test_order_window_and_stops_are_told() -> None:
    text = _explained(
        rule("true", "1", order=1, stop_after_match=True),
        rule("true", "1", order=2, active_from="2026-01-01T00:00:00Z"),
        name="r2",
    )
    assert _section(text, "when") == [
        "order 2: number 2 of 2 active rules",
        "not before 2026-01-01T00:00:00Z (processing time)",
        "skipped when r1 matched",
    ]


def test_generated_code_of_both_targets_is_shown() -> None:
    text = _explained(rule("event.x > 1", "2"))
    assert "def condition_0(record, slot, program_slot, group_slot, kind, value, scale, records):" in _section(
        text, "generated for the kernel"
    )
    assert "# condition: event.x > 1" in _section(text, "generated for the closures")


def test_participants_that_influence_each_other_are_told() -> None:
    text = _explained(rule("program.counters.n > 1", "1"))
    assert _section(text, "participants together") == [
        "yes: the program is processed in one ordered pass",
        "rule r1 reads program.counters.n",
    ]


def test_an_unknown_rule_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="nope"):
        _explained(rule("true", "1"), name="nope")
