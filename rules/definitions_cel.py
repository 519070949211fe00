"""Checks every expression of the definitions, with a caret into the file (§11).

Works on raw objects, so that expressions are checked also where an object has other mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from earnbook.rules import definitions_nodes as nodes
from earnbook.rules.check import CheckedExpression, Environment, Result, infer_types
from earnbook.rules.definitions_collect import RawObject
from earnbook.rules.definitions_nodes import Scalar, follow
from earnbook.rules.event_schema import EventSchema
from earnbook.rules.issues import Issue, IssueError
from earnbook.rules.lint import lint_expression
from earnbook.rules.models import ACTION_MODELS
from earnbook.rules.models_fields import is_uuid
from earnbook.rules.parse import parse_expression
from earnbook.rules.syntax import (
    Bind,
    Call,
    Comprehension,
    Expression,
    Has,
    Index,
    ListLiteral,
    MapLiteral,
    Name,
    Node,
    Select,
    Span,
)

STATE_NAMES = frozenset({"event", "participant", "program", "group", "now"})
"""The variables that make a SET_ATTRIBUTE value an expression (§11.4)."""

_ACTION_EXPRESSIONS: dict[str, Result] = {"amount": "number", "reference_id": "text"}
_TARGET_EXPRESSIONS = ("external_id", "participant_id", "id")


@dataclass(frozen=True, slots=True)
class Place:
    """An expression in a raw object: its steps, its text, and what it must give."""

    steps: tuple[str | int, ...]
    text: str
    result: Result
    is_attribute: bool = False

    @property
    def is_marked(self) -> bool:
        """Whether it is the value of SET_ATTRIBUTE that says by `=` that it is CEL (§11.4)."""
        return self.is_attribute and self.text.startswith("=")


@dataclass(frozen=True, slots=True)
class CheckedPlace:
    """An expression without mistakes, where it stands, and what it was checked against."""

    place: Place
    checked: CheckedExpression
    environment: Environment


def check_expressions(
    raw: RawObject, issues: list[Issue], *, has_group: bool, schema: EventSchema | None = None
) -> list[CheckedPlace]:
    """Add what is wrong with the expressions of a rule or an automation, warnings too; other objects have none.

    `has_group` says whether the program has a `group_field`, and so the variable `group` (§11.1); `schema` is what the
    program says about its events. Returns the expressions without mistakes.
    """
    sound: list[CheckedPlace] = []
    for place in expression_places(raw):
        if raw.kind == "automation":
            environment = Environment.for_filter()
        else:
            environment = Environment.for_rule(place.result, has_group=has_group, schema=schema)
        try:
            checked = _checked(place, environment)
        except IssueError as error:
            found = list(error.issues)
        else:
            if checked is None:
                continue
            found = list(checked.issues)
            if not any(issue.is_error for issue in found):
                found += lint_expression(checked, environment)
                sound.append(CheckedPlace(place, checked, environment))
        issues += [place_issue(raw, place, _with_remedy(issue, place)) for issue in found]
    return sound


def place_issue(raw: RawObject, place: Place, issue: Issue) -> Issue:
    """The issue of an expression with its place in the file; after `=` its span counts in the whole value."""
    if place.is_marked and issue.span is not None:
        issue = replace(issue, source=place.text, span=Span(issue.span.start + 1, issue.span.end + 1))
    return raw.expression_issue(issue, *place.steps)


def expression_places(raw: RawObject) -> Iterator[Place]:
    """All expressions of a raw object, in the order of its fields."""
    if raw.kind == "automation":
        for name in ("participant_filter", "guard_condition"):
            yield from _place(raw, (name,), "bool")
    if raw.kind != "rule":
        return
    yield from _place(raw, ("condition",), "bool")
    for index, action in enumerate(raw.node.items_of("actions")):
        if isinstance(action, nodes.Mapping):
            yield from _action_places(raw, action, ("actions", index))


def attribute_expression(text: str) -> Expression | None:
    """The expression that a SET_ATTRIBUTE value is, or None where it is literal text (§11.4).

    After `=` the rest is CEL, and IssueError says what is wrong with it. Other text is CEL only if it parses and
    mentions `event`, `participant`, `program`, `group` or `now`.
    """
    if text.startswith("="):
        return parse_expression(text[1:])
    try:
        expression = parse_expression(text)
    except IssueError:
        return None
    return expression if _mentions_state(expression.root, frozenset()) else None


def _mentions_state(node: Node, bound: frozenset[str]) -> bool:
    """Whether a node reads a variable of §11.1 that no macro has bound to something else."""
    match node:
        case Name():
            return node.name in STATE_NAMES and node.name not in bound
        case Call() if node.function == "now" and node.target is None:
            return True
        case Comprehension():
            inside = bound | frozenset(node.variables)
            parts = [node.body, *([node.transform] if node.transform else [])]
            return _mentions_state(node.range, bound) or any(_mentions_state(part, inside) for part in parts)
        case Bind():
            return _mentions_state(node.value, bound) or _mentions_state(node.body, bound | {node.name})
        case Select() | Has():
            return _mentions_state(node.operand, bound)
        case Index():
            return _mentions_state(node.operand, bound) or _mentions_state(node.index, bound)
        case Call():
            parts = [*node.arguments, *([node.target] if node.target else [])]
            return any(_mentions_state(part, bound) for part in parts)
        case ListLiteral():
            return any(_mentions_state(item, bound) for item in node.items)
        case MapLiteral():
            return any(_mentions_state(part, bound) for entry in node.entries for part in entry)
    return False


def _checked(place: Place, environment: Environment) -> CheckedExpression | None:
    """The checked expression of a place, None for literal text; IssueError for what cannot be parsed."""
    expression = attribute_expression(place.text) if place.is_attribute else parse_expression(place.text)
    return None if expression is None else infer_types(expression, environment)


def _with_remedy(issue: Issue, place: Place) -> Issue:
    """Text that only looks like CEL is what its author may not expect: the remedy says how to keep it literal."""
    if not place.is_attribute or place.is_marked:
        return issue
    literal = "for literal text write it as a CEL text after `=`, as ='text'"
    return replace(issue, remedy="; ".join(part for part in (issue.remedy, literal) if part))


def _action_places(raw: RawObject, action: nodes.Mapping, steps: tuple[str | int, ...]) -> Iterator[Place]:
    kind = action.text("type")
    if kind not in ACTION_MODELS:
        return
    if kind == "COUNTER":
        yield from _place(raw, (*steps, "value"), "number")
    if kind == "SET_ATTRIBUTE":
        for place in _place(raw, (*steps, "value"), "any"):
            yield replace(place, is_attribute=True)
    for name, result in _ACTION_EXPRESSIONS.items():
        if name in ACTION_MODELS[kind].model_fields:
            yield from _place(raw, (*steps, name), result)
    for name in _TARGET_EXPRESSIONS:
        for place in _place(raw, (*steps, "target", name), "text"):
            if not is_uuid(place.text) or name != "id":
                yield place


def _place(raw: RawObject, steps: tuple[str | int, ...], result: Result) -> Iterator[Place]:
    node, taken = follow(raw.node, steps)
    if len(taken) != len(steps) or not isinstance(node, Scalar) or node.value is None:
        return
    value = node.value
    if isinstance(value, bool):
        yield Place(steps, "true" if value else "false", result)
    elif isinstance(value, int | Decimal):
        yield Place(steps, str(value), result)
    elif value:
        yield Place(steps, value, result)
