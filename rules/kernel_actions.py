"""The kernel function of a rule's actions: one effect row per action, in the columns of `ledger.schema` (§12).

Values are those of the snapshot (§10.1). What an expression alone decides is written as a code beside the value
(stages 4 and 5 of §12.3); checks against live state are the books'.
"""

from __future__ import annotations

from earnbook.ledger.schema import (
    FX_ACTION,
    FX_REFERENCE,
    FX_REFERENCE_CODE,
    FX_TARGET,
    FX_TARGET_CODE,
    FX_TARGET_KIND,
    FX_TEXT,
    FX_TEXT_KIND,
    FX_VALUE,
    FX_VALUE_CODE,
    FX_VALUE_SCALE,
    ActionType,
    Bail,
    Kind,
    Outcome,
    TargetKind,
)
from earnbook.rules.kernel_comparisons import as_text, error_of, look_up
from earnbook.rules.kernel_expressions import KernelWriter
from earnbook.rules.kernel_shapes import SCALE_MAX
from earnbook.rules.kernel_values import Dyn, Lowered, Null, Number, StatusOf, Text, Unsupported, any_of, is_any
from earnbook.rules.parse import parse_expression
from earnbook.rules.plan import ActionPlan
from earnbook.rules.syntax import Expression

REFERENCE_LENGTH_MAX = 255

_REFERENCE_TEST = parse_expression(f"size(event) >= 1 && size(event) <= {REFERENCE_LENGTH_MAX}").root
_WRITTEN = (
    FX_ACTION,
    FX_TARGET,
    FX_TARGET_KIND,
    FX_TARGET_CODE,
    FX_VALUE_CODE,
    FX_VALUE,
    FX_VALUE_SCALE,
    FX_TEXT_KIND,
    FX_TEXT,
    FX_REFERENCE,
    FX_REFERENCE_CODE,
)
"""The columns that `_write_effect` of the prelude takes, in its order; it fills the others."""

_ERROR = int(Outcome.EXPRESSION_ERROR)
_MISSING = int(Outcome.TARGET_MISSING)


def write_action(writer: KernelWriter, action: ActionPlan) -> None:
    """Emit the effect row of an action at row `at`; bails out where the closures are needed."""
    try:
        with writer.code.captured() as block:
            cells = _effect(writer, action)
            cells_written = ", ".join(cells.get(column, "0") for column in _WRITTEN)
            writer.code.arrays.add("effects")
            writer.code.emit(f"_write_effect(effects, at, {cells_written})")
    except Unsupported as reason:
        writer.bail(f"action {action.index} ({action.type.name})", reason)
        return
    writer.code.insert(block)


def _effect(writer: KernelWriter, action: ActionPlan) -> dict[int, str]:
    """The columns of the row that are not 0."""
    target = "program_slot" if action.target_is_program else "-1"
    cells = {FX_ACTION: f"A{action.number}", FX_TARGET: target, FX_REFERENCE: "-1"}
    if action.target is not None:
        cells |= _target(writer, action.target, action.target_kind)
    if action.value is not None:
        cells |= _amount(writer, action.value, action.type)
    if action.text is not None:
        cells |= _attribute(writer, action.text)
    if action.reference is not None:
        cells |= _reference(writer, action.reference, cells.get(FX_VALUE_CODE, "0"))
    return cells


def _target(writer: KernelWriter, target: Expression | str, kind: TargetKind) -> dict[int, str]:
    """The text that names a target, or why there is none; what the text means is the books'."""
    lowered = writer.constant(target) if isinstance(target, str) else writer.write(target)
    code = writer.code
    match lowered:
        case Text(code=text, error=error):
            is_text, is_null = f"not {error}" if error != "False" else "True", "False"
        case Dyn(kind=found, value=text):
            writer.bail_if_wide(found)
            is_text, is_null = f"{found} == {int(Kind.TEXT)}", f"{found} == {int(Kind.NULL)}"
        case StatusOf():
            raise Unsupported("a status is only compared with constants")
        case value:
            return {FX_TARGET: "-1", FX_TARGET_CODE: str(_MISSING if isinstance(value, Null) else _ERROR)}
    empty = writer.literals.name(code, "text", "")
    outcome = code.assign("o", str(_ERROR))
    with code.nested(f"if {is_null}:"):
        code.emit(f"{outcome} = {_MISSING}")
    with code.nested(f"if {is_text}:"):
        code.emit(f"{outcome} = {_MISSING} if {text} == {empty} else 0")
    return {
        FX_TARGET: f"-1 if {outcome} else {text}",
        FX_TARGET_KIND: f"0 if {outcome} else {int(kind)}",
        FX_TARGET_CODE: outcome,
    }


def _amount(writer: KernelWriter, expression: Expression, kind: ActionType) -> dict[int, str]:
    """An amount, or what COUNTER adds: its number, or the code that says why there is none."""
    wrong = int(Outcome.INVALID_VALUE if kind is ActionType.COUNTER else Outcome.INVALID_AMOUNT)
    lowered = writer.write(expression)
    match lowered:
        case Number() as number:
            code = f"{_ERROR} if {number.error} else 0"
        case Dyn() as value:
            writer.bail_if_wide(value.kind)
            is_number = writer.code.assign("f", is_any(value.kind, Kind.NUMBER, Kind.INT))
            code = f"0 if {is_number} else ({_ERROR} if {error_of(value)} else {wrong})"
            mantissa = writer.code.assign("m", f"{value.value} if {is_number} else 0")
            number = Number(mantissa, value.scale, "False", value.integer)
        case value:
            return {FX_VALUE_CODE: writer.code.assign("o", f"{_ERROR} if {error_of(value)} else {wrong}")}
    mantissa, scale = _stored(writer, number)
    return {
        FX_VALUE_CODE: "0"
        if isinstance(lowered, Number) and number.error == "False"
        else writer.code.assign("o", code),
        FX_VALUE: mantissa,
        FX_VALUE_SCALE: scale,
    }


def _stored(writer: KernelWriter, number: Number) -> tuple[str, str]:
    """Mantissa and scale of at most 18 decimals; a number that needs more bails out."""
    if number.scale.isdigit() and int(number.scale) <= SCALE_MAX:
        return number.mantissa, number.scale
    mantissa, scale = writer.code.assign("m", number.mantissa), writer.code.assign("s", number.scale)
    with writer.code.nested(f"if {scale} > {SCALE_MAX}:"):
        writer.code.emit(f"{mantissa}, {scale} = _strip({mantissa}, {scale})")
        writer.bail_if(f"{scale} > {SCALE_MAX}", Bail.NUMBER_RANGE)
    return mantissa, scale


def _attribute(writer: KernelWriter, value: Expression | str) -> dict[int, str]:
    """The new value of an attribute as a typed cell; numbers without trailing zeros, so that equal texts are equal."""
    lowered: Lowered = writer.constant(value) if isinstance(value, str) else writer.write(value)
    cell = writer.dynamic(lowered)
    code = writer.code
    kind = code.assign("k", cell.kind)
    writer.bail_if_wide(kind)
    outcome = code.assign("o", f"{_ERROR} if {is_any(kind, Kind.ABSENT, Kind.ERROR)} else 0")
    with code.nested(f"if {is_any(kind, Kind.NULL, Kind.LIST, Kind.MAP)}:"):
        code.emit(f"{outcome} = {int(Outcome.INVALID_VALUE)}")
    number, scale = code.assign("v", f"0 if {outcome} else {cell.value}"), code.assign("s", "0")
    with code.nested(f"if {is_any(kind, Kind.NUMBER, Kind.INT)}:"):
        code.emit(f"{number}, {scale} = _strip({number}, {cell.scale})")
        writer.bail_if(f"{scale} > {SCALE_MAX}", Bail.NUMBER_RANGE)
        code.emit(f"{kind} = {int(Kind.NUMBER)}")
    return {
        FX_VALUE_CODE: outcome,
        FX_VALUE_SCALE: scale,
        FX_TEXT_KIND: f"0 if {outcome} else {kind}",
        FX_TEXT: number,
    }


def _reference(writer: KernelWriter, expression: Expression, value_code: str) -> dict[int, str]:
    """A reference and whether it is one; that its expression fails (stage 4) comes before a wrong amount (stage 5)."""
    lowered = writer.write(expression)
    error = error_of(lowered)
    code = writer.code
    text = as_text(writer, lowered) if isinstance(lowered, Text | Dyn) else Text("0", "True")
    good = look_up(writer, _REFERENCE_TEST, text).code
    return {
        FX_VALUE_CODE: code.assign("o", f"{_ERROR} if {any_of(error)} else {value_code}"),
        FX_REFERENCE: code.assign("t", f"-1 if {text.error} else {text.code}"),
        FX_REFERENCE_CODE: code.assign("o", f"0 if {good} == 1 or {error} else {int(Outcome.INVALID_REFERENCE)}"),
    }
