"""How many decimals an amount can have, and a warning where that is more than its asset has (§5.3).

Data of events and state is taken to fit the asset by itself, so `event.amount` is fine and `event.amount * 0.015` is
not. What `event_schema` calls an integer has no decimals. Amounts with too many decimals fail when they occur; nothing
is ever rounded silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from earnbook.rules.check import CheckedExpression, Environment
from earnbook.rules.check_objects import ObjectType
from earnbook.rules.issues import Issue, LintCode, cel_warning
from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.models import Asset
from earnbook.rules.plan_reads import reads_of
from earnbook.rules.proposal import decimals_of
from earnbook.rules.syntax import Bind, Call, Index, ListLiteral, Literal, Name, Node, Select
from earnbook.rules.types import DYN, INT, STRING, UINT, Type
from earnbook.rules.values import EvaluationError

UNLIMITED = 1_000
"""Decimals of a quotient: more than any scale."""

_WHOLE = frozenset(
    {"floor", "ceil", "int", "uint", "size", "_%_", "math.floor", "math.ceil", "math.round", "math.trunc"}
)
_LARGEST = frozenset(
    {"_+_", "_-_", "-_", "abs", "min", "max", "math.abs", "math.least", "math.greatest", "double", "dyn"}
)
_SHOWN_MAX = 50


def lint_amount(checked: CheckedExpression, environment: Environment, asset: Asset) -> Issue | None:
    """A warning when an amount of the asset can have more decimals than the asset; None when it cannot."""
    expression = checked.expression
    reader = _Reader(checked.types, environment.objects, asset.scale)
    decimals = (
        _constant_decimals(checked) if reads_of(expression.root).constant else reader.decimals(expression.root, {})
    )
    if decimals is None or decimals <= asset.scale:
        return None
    can_have = "any number of" if decimals >= UNLIMITED else f"{decimals}"
    message = f"{asset.symbol} has {asset.scale} decimals, this can have {can_have}: then it fails"
    text = expression.text if len(expression.text) <= _SHOWN_MAX and "\n" not in expression.text else "…"
    remedy = f"write round({text}, {asset.scale})"
    return cel_warning(LintCode.UNROUNDED_AMOUNT, expression.text, expression.root.span, message, remedy)


def _constant_decimals(checked: CheckedExpression) -> int | None:
    try:
        value = lower_closure(checked.expression, ())({})
    except EvaluationError:
        return None
    if isinstance(value, Decimal) and value.is_finite():
        return decimals_of(value)
    return 0


@dataclass(frozen=True, slots=True)
class _Reader:
    types: Mapping[int, Type]
    objects: Mapping[str, ObjectType]
    scale: int

    def decimals(self, node: Node, names: Mapping[str, int]) -> int:
        """The most decimals that a node can have; `names` are those of bound variables."""
        if self.types.get(node.id, DYN) in (INT, UINT):
            return 0
        match node:
            case Literal(value=Decimal() as value):
                return decimals_of(value)
            case Name(name=name):
                return names.get(name, self.scale)
            case Select(operand=operand, field=field) | Index(operand=operand, index=Literal(value=str(field))):
                known = self.objects.get(self.types.get(operand.id, DYN).kind)
                return 0 if known is not None and field in known.whole else self.scale
            case ListLiteral(items=items):
                return max((self.decimals(item, names) for item in items), default=0)
            case Bind(name=name, value=value, body=body):
                return self.decimals(body, {**names, name: self.decimals(value, names)})
            case Call():
                return self._call(node, names)
            case _:
                return self.scale

    def _call(self, node: Call, names: Mapping[str, int]) -> int:
        def of(part: Node) -> int:
            return self.decimals(part, names)

        function, arguments = node.function, node.arguments
        if function in _WHOLE:
            return 0
        if function == "double" and self.types.get(arguments[0].id) == STRING:
            return self.scale
        if function in _LARGEST:
            return max(of(part) for part in arguments)
        match function:
            case "_*_":
                return min(UNLIMITED, sum(of(part) for part in arguments))
            case "_/_":
                return UNLIMITED
            case "_?_:_":
                return max(of(part) for part in arguments[1:])
            case "round":
                return _places(arguments, of)
            case "get" if len(arguments) == 3:
                return max(self.scale, of(arguments[2]))
            case _:
                return self.scale


def _places(arguments: tuple[Node, ...], of: Callable[[Node], int]) -> int:
    """Decimals after `round`: as many as it says, if that is a constant, but not more than there are."""
    if len(arguments) == 1:
        return 0
    places = arguments[1]
    if isinstance(places, Literal) and isinstance(places.value, int | Decimal):
        return max(0, min(int(places.value), of(arguments[0])))
    # Computed places are the author's own choice.
    return 0
