"""Warnings about single expressions: what is legal and surely not what its author means. Never errors.

Works on checked expressions without mistakes. Here: comparisons that the `event_schema` rules out, and `has()` that
fails where it should be false. `lint_conditions` finds conditions that nothing can change; `lint_definitions` what only
shows when all rules are seen together.
"""

from __future__ import annotations

from collections.abc import Iterator

from earnbook.rules.check import CheckedExpression, Environment
from earnbook.rules.check_objects import EnumValue
from earnbook.rules.issues import Issue, LintCode, cel_warning, suggest
from earnbook.rules.lint_conditions import lint_condition
from earnbook.rules.plan_reads import unparse
from earnbook.rules.syntax import Call, Expression, Has, Index, ListLiteral, Literal, Name, Node, Select
from earnbook.rules.syntax_walk import children
from earnbook.rules.types import DYN
from earnbook.rules.values import equals

_ALWAYS_THERE = frozenset({"tags", "counters", "attributes", "tiers"})
"""Fields of state objects that are there even without a participant (§11.1)."""


def lint_expression(checked: CheckedExpression, environment: Environment) -> list[Issue]:
    """Warnings about an expression without mistakes, in the order of its text; without file and line."""
    linter = _Linter(checked, environment)
    found = list(linter.warnings())
    if environment.result == "bool":
        found += lint_condition(checked.expression)
    return sorted(found, key=lambda issue: issue.span.start if issue.span else 0)


def walk(node: Node) -> Iterator[Node]:
    """The node and all its parts, in the order of evaluation."""
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(children(here)))


class _Linter:
    def __init__(self, checked: CheckedExpression, environment: Environment) -> None:
        self._expression: Expression = checked.expression
        self._types = checked.types
        self._objects = environment.objects

    def warnings(self) -> Iterator[Issue]:
        nodes = list(walk(self._expression.root))
        guarded = {f"{unparse(node.operand)}.{node.field}" for node in nodes if isinstance(node, Has)}
        for node in nodes:
            if not isinstance(node, Call):
                continue
            if node.function in ("_==_", "_!=_"):
                yield from self._comparison(node)
            elif node.function == "@in":
                yield from self._membership(node)
            elif node.function in ("!_", "_?_:_") and isinstance(node.arguments[0], Has):
                yield from self._has(node.arguments[0], guarded)

    # Comparisons with values that a field never has

    def _comparison(self, node: Call) -> Iterator[Issue]:
        left, right = node.arguments
        if isinstance(left, Literal):
            left, right = right, left
        values = self._enum(left)
        if values and isinstance(right, Literal):
            consequence = "is never true" if node.function == "_==_" else "is always true"
            yield from self._outside(right, unparse(left), values, consequence)

    def _membership(self, node: Call) -> Iterator[Issue]:
        item, container = node.arguments
        values = self._enum(item)
        if not values or not isinstance(container, ListLiteral):
            return
        for part in container.items:
            if isinstance(part, Literal):
                yield from self._outside(part, unparse(item), values, "adds nothing")

    def _outside(
        self, literal: Literal, field: str, values: tuple[EnumValue, ...], consequence: str
    ) -> Iterator[Issue]:
        if any(equals(literal.value, value) is True for value in values):
            return
        shown = f"'{literal.value}'" if isinstance(literal.value, str) else unparse(literal)
        message = f"event_schema has no {shown} among the values of {field}: this {consequence}"
        texts = [value for value in values if isinstance(value, str)]
        remedy = suggest(str(literal.value), texts) or "add the value to the enum"
        yield cel_warning(LintCode.NEVER_EQUAL, self._expression.text, literal.span, message, remedy)

    def _enum(self, node: Node) -> tuple[EnumValue, ...]:
        """All values that a field can have, as far as the schema says so."""
        match node:
            case Select(operand=operand, field=field):
                pass
            case Index(operand=operand, index=Literal(value=str(field))):
                pass
            case _:
                return ()
        known = self._objects.get(self._types.get(operand.id, DYN).kind)
        return known.enums.get(field, ()) if known is not None else ()

    # has() of a field of something that may be missing

    def _has(self, node: Has, guarded: set[str]) -> Iterator[Issue]:
        owner = unparse(node.operand)
        if owner in guarded or self._is_there(node.operand):
            return
        message = f"this is an error, not false, where {owner} is missing"
        remedy = f"ask for it first: has({owner}) && has({owner}.{node.field})"
        yield cel_warning(LintCode.UNGUARDED_HAS, self._expression.text, node.span, message, remedy)

    def _is_there(self, node: Node) -> bool:
        """Whether a node has a value in every event; taken for granted where it is no chain of fields."""
        if isinstance(node, Name) or not isinstance(node, Select) or node.optional:
            return True
        owner = self._types.get(node.operand.id, DYN)
        if owner.kind in ("participant", "program", "group"):
            return node.field in _ALWAYS_THERE
        known = self._objects.get(owner.kind)
        return known is not None and node.field in known.required and self._is_there(node.operand)
