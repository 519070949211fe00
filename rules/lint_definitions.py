"""Warnings that need more than one expression: the asset of an amount, and what all rules together write (§6.3).

In: resolved programs and assets, with the raw objects behind them. Out: warnings with a place in the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from earnbook.rules.definitions_cel import CheckedPlace, Place, place_issue
from earnbook.rules.definitions_collect import RawObject
from earnbook.rules.issues import Issue, LintCode, cel_warning, suggest
from earnbook.rules.lint_amounts import lint_amount
from earnbook.rules.models import Asset, CounterAction, Program, Rule, SetAttributeAction, TagAction
from earnbook.rules.models_automations import Automation
from earnbook.rules.plan_reads import access_path
from earnbook.rules.syntax import Bind, Call, Comprehension, Expression, ListLiteral, Literal, Node, Span
from earnbook.rules.syntax_walk import children

_OWNERS = frozenset({"participant", "program", "group"})
_STORES = frozenset({"tags", "counters", "attributes"})
_SPOKEN = {"tags": "tag", "counters": "counter", "attributes": "attribute"}
_OPERATIONS = {"tags": "add_tag", "counters": "set_counter", "attributes": "set_attribute"}
_ACTIONS = {"tags": "TAG", "counters": "COUNTER", "attributes": "SET_ATTRIBUTE"}
_SETS = frozenset({"sets.contains", "sets.intersects", "sets.equivalent"})


@dataclass(frozen=True, slots=True)
class StateRead:
    """A tag, counter, attribute or tier that an expression names, and where."""

    owner: str
    store: str
    name: str
    span: Span


def lint_definitions(
    programs: Sequence[Program],
    assets: Mapping[str, Asset],
    expressions: Mapping[RawObject, Sequence[CheckedPlace]],
    origins: Mapping[str, RawObject],
) -> list[Issue]:
    """All warnings about definitions without mistakes.

    `assets` are by symbol, `origins` the raw objects by id, `expressions` the checked expressions by raw object.
    """
    written = {(program.key, *name) for program in programs for rule in program.rules for name in _written(rule)}
    everywhere = {(owner, store, name) for _, owner, store, name in written if owner != "program"}
    issues: list[Issue] = []
    for program in programs:
        own = {(owner, store, name) for key, owner, store, name in written if key == program.key}
        own |= {("participant", "tiers", tier.key) for tier in program.tiers} | everywhere
        definitions: tuple[Rule | Automation, ...] = (*program.rules, *program.automations)
        for definition in definitions:
            raw = origins.get(definition.id)
            if raw is not None and definition.status not in ("ARCHIVED", "archived"):
                issues += _lint(definition, raw, expressions.get(raw, ()), assets, own)
    return issues


def state_reads(expression: Expression) -> Iterator[StateRead]:
    """The names of state that an expression reads literally, in the order of evaluation."""
    return _reads(expression.root, frozenset())


def _lint(
    definition: Rule | Automation,
    raw: RawObject,
    expressions: Sequence[CheckedPlace],
    assets: Mapping[str, Asset],
    written: set[tuple[str, str, str]],
) -> Iterator[Issue]:
    seen: set[tuple[str, str, str]] = set()
    for found in expressions:
        issues = _unwritten(found.checked.expression, written, seen)
        asset = _asset_of_amount(definition, found.place, assets)
        if asset is not None and (warning := lint_amount(found.checked, found.environment, asset)) is not None:
            issues.append(warning)
        yield from (place_issue(raw, found.place, issue) for issue in issues)


def _asset_of_amount(definition: Rule | Automation, place: Place, assets: Mapping[str, Asset]) -> Asset | None:
    """The asset of which the expression at a place is an amount."""
    if not isinstance(definition, Rule) or place.steps[0] != "actions" or place.steps[-1] != "amount":
        return None
    return assets.get(getattr(definition.actions[int(place.steps[1])], "asset_id", ""))


def _unwritten(
    expression: Expression, written: set[tuple[str, str, str]], seen: set[tuple[str, str, str]]
) -> list[Issue]:
    """State that no rule writes; each name once per rule or automation."""
    issues = []
    for read in state_reads(expression):
        key = (read.owner, read.store, read.name)
        if key not in written and key not in seen:
            near = (name for owner, store, name in written if (owner, store) == (read.owner, read.store))
            issues.append(_unwritten_warning(expression.text, read, near))
        seen.add(key)
    return issues


def _unwritten_warning(text: str, read: StateRead, written: Iterable[str]) -> Issue:
    near = suggest(read.name, written)
    if read.store == "tiers":
        message = f"the program has no tier type `{read.name}`"
        return cel_warning(LintCode.UNWRITTEN_STATE, text, read.span, message, near or "define the tier type")
    what = _SPOKEN[read.store]
    message = f"no rule writes {what} `{read.name}` of {read.owner}: it is there only if an operation sets it"
    action, operation = _ACTIONS[read.store], _OPERATIONS[read.store]
    remedy = near if near.startswith("did you mean") else f"write it with {action}, or set it with {operation}"
    return cel_warning(LintCode.UNWRITTEN_STATE, text, read.span, message, remedy)


def _written(rule: Rule) -> Iterator[tuple[str, str, str]]:
    """The state that a rule's actions write: owner, store, name."""
    if rule.status == "ARCHIVED":
        return
    for action in rule.actions:
        target = getattr(action, "target", None)
        owner = "participant" if target is None else target.type.lower()
        match action:
            case CounterAction(key=key):
                yield owner, "counters", key
            case TagAction(tag=tag):
                yield owner, "tags", tag.lower()
            case SetAttributeAction(key=key):
                yield owner, "attributes", key


def _reads(node: Node, bound: frozenset[str]) -> Iterator[StateRead]:
    root, path = access_path(node, bound)
    if root in _OWNERS and len(path) == 2 and _is_store(root, path[0]):
        yield StateRead(root, path[0], path[1], node.span)
        return
    match node:
        case Call(function="get", arguments=(container, Literal(value=str(name)) as key, _)):
            yield from _named(container, ((name, key.span),), bound)
        case Call(function="@in", arguments=(Literal(value=str(name)) as key, container)):
            yield from _named(container, ((name, key.span),), bound)
        case Call(function=function, arguments=(container, ListLiteral(items=items))) if function in _SETS:
            yield from _named(container, _texts(items), bound)
    if isinstance(node, Comprehension):
        bound |= set(node.variables)
    elif isinstance(node, Bind):
        bound |= {node.name}
    for part in children(node):
        yield from _reads(part, bound)


def _named(container: Node, names: Iterable[tuple[str, Span]], bound: frozenset[str]) -> Iterator[StateRead]:
    root, path = access_path(container, bound)
    if root in _OWNERS and len(path) == 1 and _is_store(root, path[0]):
        yield from (
            StateRead(root, path[0], name, span) for name, span in names if name == name.lower() or path[0] != "tags"
        )


def _texts(items: Sequence[Node]) -> list[tuple[str, Span]]:
    return [(item.value, item.span) for item in items if isinstance(item, Literal) and isinstance(item.value, str)]


def _is_store(owner: str, field: str) -> bool:
    return field in _STORES or (owner == "participant" and field == "tiers")
