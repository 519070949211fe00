"""Finds conditions, and parts of conditions, that are the same for every event.

Parts without variables are evaluated. Beyond that, comparisons of one expression with constants are held against each
other: joined by `&&` they may exclude each other (`a == 1 && a == 2`, `a > 5 && a < 3`), joined by `||` they may leave
nothing out (`a != 1 || a != 2`), which is the same question about their negations.

Errors of evaluation are left aside: a missing field makes a condition false whatever it says (§10.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from earnbook.rules.issues import Issue, LintCode, cel_warning
from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.plan_reads import reads_of, unparse
from earnbook.rules.syntax import Call, Expression, Literal, Node, Span
from earnbook.rules.syntax_walk import children
from earnbook.rules.values import CelError, EvaluationError, Value, equals, greater, greater_equal, less, less_equal

PAIRS_MAX = 10_000
"""How many pairs of comparisons of one `&&` or `||` are held against each other; a longer chain is not examined."""

_NEGATED = {"_==_": "_!=_", "_!=_": "_==_", "_<_": "_>=_", "_>=_": "_<_", "_>_": "_<=_", "_<=_": "_>_"}
_FLIPPED = {"_==_": "_==_", "_!=_": "_!=_", "_<_": "_>_", "_>_": "_<_", "_<=_": "_>=_", "_>=_": "_<=_"}
_HOLDS: dict[str, Callable[[Value, Value], Value]] = {
    "_<_": less,
    "_<=_": less_equal,
    "_>_": greater,
    "_>=_": greater_equal,
}
_UPPER = ("_<_", "_<=_")
_LOWER = ("_>_", "_>=_")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a part always gives, and the part of the text that decides it."""

    value: bool
    span: Span
    why: str


@dataclass(frozen=True, slots=True)
class _Comparison:
    """`subject operator value`; a condition by itself is compared with true."""

    subject: str
    operator: str
    value: Value
    span: Span


def lint_condition(expression: Expression) -> list[Issue]:
    """Warnings about a condition that is always or never true, or about the largest parts of it that are."""
    root = expression.root
    if isinstance(root, Literal) and root.value is True:
        # The way to write a rule for every event.
        return []
    return list(_warnings(expression, root, is_whole=True))


def _warnings(expression: Expression, node: Node, *, is_whole: bool) -> Iterator[Issue]:
    verdict = judge(expression, node)
    if verdict is not None:
        yield _warning(expression, verdict, is_whole=is_whole)
        return
    match node:
        case Call(function="_&&_" | "_||_" | "!_", arguments=arguments):
            for part in arguments:
                yield from _warnings(expression, part, is_whole=False)
        case Call(function="_?_:_", arguments=arguments):
            yield from _warnings(expression, arguments[0], is_whole=False)


def _warning(expression: Expression, verdict: Verdict, *, is_whole: bool) -> Issue:
    what = "the condition" if is_whole else "this part"
    message = f"{what} is {'always' if verdict.value else 'never'} true: {verdict.why}"
    if not is_whole:
        remedy = "remove the part, or compare with what is meant"
    elif verdict.value:
        remedy = "write true if every event is meant"
    else:
        remedy = "compare with what is meant; to switch a rule off, set status: SUSPENDED"
    return cel_warning(LintCode.CONSTANT_CONDITION, expression.text, verdict.span, message, remedy)


def judge(expression: Expression, node: Node) -> Verdict | None:
    """What a node gives for every event, None where it depends on the event."""
    match node:
        case Call(function="_&&_" | "_||_" as function):
            return _judge_chain(expression, node, function)
        case Call(function="!_", arguments=(inner,)):
            verdict = judge(expression, inner)
            return None if verdict is None else Verdict(not verdict.value, verdict.span, verdict.why)
        case Call(function="_?_:_", arguments=(condition, *branches)):
            return _judge_choice(expression, node, condition, branches)
        case _:
            value = _constant(expression, node)
            return Verdict(value, node.span, "nothing in it varies") if isinstance(value, bool) else None


def _judge_choice(expression: Expression, node: Node, condition: Node, branches: Sequence[Node]) -> Verdict | None:
    chosen = judge(expression, condition)
    verdicts = [judge(expression, branch) for branch in branches]
    if chosen is not None:
        return verdicts[0 if chosen.value else 1]
    first, second = verdicts
    if first is not None and second is not None and first.value == second.value:
        return Verdict(first.value, node.span, "both branches are the same")
    return None


def _judge_chain(expression: Expression, node: Node, function: str) -> Verdict | None:
    """`&&` or `||` over all operands of the chain; for `||` true decides what false decides for `&&`."""
    deciding = function == "_||_"
    operands = _flattened(node, function)
    verdicts = [judge(expression, operand) for operand in operands]
    for verdict in verdicts:
        if verdict is not None and verdict.value is deciding:
            return verdict
    if all(verdict is not None for verdict in verdicts):
        return Verdict(not deciding, node.span, "nothing in it varies")
    comparisons = [comparison for part in operands if (comparison := _comparison(expression, part, negate=deciding))]
    return _judge_together(comparisons, deciding)


def _judge_together(comparisons: Sequence[_Comparison], deciding: bool) -> Verdict | None:
    """The first two comparisons of one subject that cannot both hold (for `||` both are negated)."""
    by_subject: dict[str, list[_Comparison]] = {}
    for comparison in comparisons:
        by_subject.setdefault(comparison.subject, []).append(comparison)
    for subject, group in by_subject.items():
        if len(group) * (len(group) - 1) // 2 > PAIRS_MAX:
            continue
        for one, other in combinations(group, 2):
            if _exclude_each_other(one, other):
                span = Span(min(one.span.start, other.span.start), max(one.span.end, other.span.end))
                why = f"whatever {subject} is, one of these holds" if deciding else f"{subject} cannot be both"
                return Verdict(deciding, span, why)
    return None


def _exclude_each_other(one: _Comparison, other: _Comparison) -> bool:
    """Whether no value satisfies both comparisons."""
    if other.operator == "_==_":
        one, other = other, one
    same = equals(one.value, other.value) is True
    if one.operator == "_==_":
        if other.operator == "_==_":
            return not same
        return same if other.operator == "_!=_" else not _satisfies(one.value, other, default=True)
    if one.operator in _UPPER and other.operator in _LOWER:
        one, other = other, one
    if one.operator in _LOWER and other.operator in _UPPER:
        open_end = one.operator == "_>_" or other.operator == "_<_"
        return (same and open_end) or not (same or _satisfies(one.value, other, default=True))
    return False


def _satisfies(value: Value, comparison: _Comparison, *, default: bool) -> bool:
    """Whether a value satisfies an order; `default` where the two have no order."""
    try:
        return _HOLDS[comparison.operator](value, comparison.value) is True
    except CelError:
        return default


def _comparison(expression: Expression, node: Node, *, negate: bool) -> _Comparison | None:
    """A comparison with a constant; any other condition is compared with true. None for what cannot be used."""
    if isinstance(node, Call) and node.function in _NEGATED:
        left, right = node.arguments
        operator = node.function
        value = _constant(expression, right)
        if value is _VARIES:
            left, operator, value = right, _FLIPPED[operator], _constant(expression, left)
        if value is _VARIES:
            return None
        return _Comparison(_subject(expression, left), _NEGATED[operator] if negate else operator, value, node.span)
    wanted = not negate
    if isinstance(node, Call) and node.function == "!_":
        return _Comparison(_subject(expression, node.arguments[0]), "_==_", not wanted, node.span)
    return _Comparison(_subject(expression, node), "_==_", wanted, node.span)


def _subject(expression: Expression, node: Node) -> str:
    """A text that is the same for equal expressions; it reads as written."""
    written = expression.text[node.span.start : node.span.end]
    return written if written == unparse(node) else unparse(node)


class _Varies:
    """The mark of what is no constant; None is a value."""


_VARIES = _Varies()


def _constant(expression: Expression, node: Node) -> Value:
    """The value of a node without variables; `_VARIES` for others and for those that fail."""
    if isinstance(node, Literal):
        return node.value
    if not reads_of(node).constant or _reads_clock(node):
        return _VARIES
    try:
        return lower_closure(Expression(expression.text, node), ())({})
    except EvaluationError:
        return _VARIES


def _reads_clock(node: Node) -> bool:
    """Whether `now()` stands in the node."""
    if isinstance(node, Call) and node.function == "now":
        return True
    return any(_reads_clock(part) for part in children(node))


def _flattened(node: Node, function: str) -> list[Node]:
    """The operands of a chain of one operator, from left to right."""
    operands: list[Node] = []
    stack = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, Call) and here.function == function:
            stack.extend(reversed(here.arguments))
        else:
            operands.append(here)
    return operands
