"""One rule explained: what it reads and writes, how each part runs, the generated code, and what is not accelerated.

Pure text for people (`earnbook rules explain`); the facts all come from the compiled ruleset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from earnbook.ledger.schema import Bail
from earnbook.rules.compile import CompiledProgram, CompiledRuleset
from earnbook.rules.kernel_expressions import Note, bail_name
from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.parse_portable import is_portable
from earnbook.rules.plan import ActionPlan, RulePlan
from earnbook.rules.plan_columns import LookupTable, PrecomputedColumn
from earnbook.rules.plan_reads import EventColumn, unparse
from earnbook.rules.syntax import Expression
from earnbook.rules.times import format_timestamp

_BAILS: Mapping[Bail, str] = {
    Bail.NOT_IN_KERNEL: "what is not accelerated was reached",
    Bail.WIDE_VALUE: "a field or column beyond 64 bits, or with more than 6 decimals",
    Bail.NUMBER_RANGE: "a result beyond 64 bits, or with more than 18 decimals",
    Bail.TIME_RANGE: "a time outside the calendar",
    Bail.ODD_KIND: "a list, map, text or time where the kernel takes numbers",
    Bail.WIDE_COUNTER: "a counter beyond 64 bits",
}
"""When the kernel leaves an event to the closures, by the reasons that the summary of a run counts."""


def explain_rule(compiled: CompiledRuleset, program: str, rule: str) -> str:
    """The explanation of an active rule, found by key or name in the program with this key.

    Raises KeyError when there is no such program or rule.
    """
    owner = compiled.program(program)
    for plan in owner.rules:
        if rule in (plan.definition.key, plan.definition.name):
            return "\n".join(_lines(compiled, owner, plan)) + "\n"
    raise KeyError(rule)


def _lines(compiled: CompiledRuleset, owner: CompiledProgram, rule: RulePlan) -> Iterator[str]:
    definition = rule.definition
    yield f"rule {definition.key} of program {owner.key}: {definition.name}"
    yield from _section("when", _when(owner, rule))
    yield from _section("condition", (rule.condition.text, f"parsed: {unparse(rule.condition.root)}"))
    yield from _section("actions", (line for action in rule.actions for line in _action(action)))
    yield from _section("reads", rule.reads.names())
    yield from _section("writes", rule.writes)
    yield from _section("inputs made once per batch", _inputs(compiled, owner.rule_sources[rule.position]))
    yield from _section("not accelerated", _not_accelerated(owner, owner.notes[rule.position]))
    yield from _section("events left to the closures", _left(owner.rule_sources[rule.position]))
    yield from _section("participants together", _coupling(owner))
    yield from _section("other tools", _portability(rule))
    yield from _section("generated for the kernel", owner.rule_sources[rule.position].strip().splitlines())
    yield from _section("generated for the closures", _closures(rule))


def _section(title: str, lines: Iterator[str] | tuple[str, ...] | list[str]) -> Iterator[str]:
    written = list(lines)
    if written:
        yield ""
        yield title
        yield from (f"  {line}".rstrip() for line in written)


def _when(owner: CompiledProgram, rule: RulePlan) -> Iterator[str]:
    definition = rule.definition
    yield f"order {definition.order}: number {rule.position + 1} of {len(owner.rules)} active rules"
    if definition.active_from is not None:
        yield f"not before {format_timestamp(definition.active_from)} (processing time)"
    if definition.active_to is not None:
        yield f"not after {format_timestamp(definition.active_to)} (processing time)"
    if definition.stop_after_match:
        yield "a match stops later rules"
    stopping = [other.definition.key for other in owner.rules[: rule.position] if other.definition.stop_after_match]
    if stopping:
        yield f"skipped when {' or '.join(stopping)} matched"


def _action(action: ActionPlan) -> Iterator[str]:
    definition = action.definition
    given = definition.model_dump(exclude_defaults=True, exclude={"type", "target"})
    yield f"{action.index}: {action.type.name} " + ", ".join(f"{name} {value}" for name, value in given.items())
    for expression in action.expressions:
        yield f"   parsed: {unparse(expression.root)}"


def _inputs(compiled: CompiledRuleset, source: str) -> Iterator[str]:
    """The columns and tables that the rule's code names (E, P and T with their numbers)."""
    names = set("".join(character if character.isalnum() else " " for character in source).split())
    inputs: list[tuple[str, EventColumn | PrecomputedColumn | LookupTable]] = []
    inputs += [(f"E{number}", column) for number, column in enumerate(compiled.event_columns)]
    inputs += [(f"P{number}", column) for number, column in enumerate(compiled.precomputed_columns)]
    inputs += [(f"T{number}", table) for number, table in enumerate(compiled.tables)]
    for name, column in inputs:
        if name in names:
            yield f"{name}: {_input(column)}"


def _input(column: EventColumn | PrecomputedColumn | LookupTable) -> str:
    match column:
        case EventColumn():
            return f"event column {column}"
        case PrecomputedColumn():
            return f"precomputed column, by the closures: {column}"
        case LookupTable():
            return f"lookup table, once per distinct text (`event` is the text): {column}"


def _not_accelerated(owner: CompiledProgram, notes: tuple[Note, ...]) -> Iterator[str]:
    if owner.refused is not None:
        yield f"the program has no kernel, closures decide every event: {owner.refused}"
    for note in dict.fromkeys(notes):
        yield f"{note.text}"
        yield f"  {note.instead}: {note.why}"
    if owner.refused is None and not notes:
        yield "nothing: the kernel has all of it"


def _left(source: str) -> Iterator[str]:
    """For what reasons the rule's code leaves an event to the closures."""
    yield from (f"{reason.name}: {text}" for reason, text in _BAILS.items() if f"return {bail_name(reason)}" in source)


def _coupling(owner: CompiledProgram) -> Iterator[str]:
    if not owner.couples:
        yield "no: every event touches its own participant only, so participants can be processed apart"
        return
    yield "yes: the program is processed in one ordered pass"
    yield from owner.plan.coupling


def _portability(rule: RulePlan) -> Iterator[str]:
    expressions = (rule.condition, *(part for action in rule.actions for part in action.expressions))
    refused = [expression.text for expression in expressions if not is_portable(expression)]
    if not refused:
        yield "every expression is also read by cel-python"
    for text in refused:
        yield f"cel-python does not read: {text}"


def _closures(rule: RulePlan) -> Iterator[str]:
    expressions: list[tuple[str, Expression]] = [("condition", rule.condition)]
    expressions += [
        (f"action {action.index}", expression) for action in rule.actions for expression in action.expressions
    ]
    for title, expression in expressions:
        yield f"# {title}: {expression.text}"
        yield from lower_closure(expression).source.splitlines()
