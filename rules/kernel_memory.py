"""How generated kernels reach the arrays of `ledger.schema`: by address, not as numba arrays.

numba counts references to every array that is passed on or read from a tuple, atomically, at each of the many returns
of a generated function; that was six times the work of the rules themselves. Kernels therefore take the address and the
row width of each array once, and pass them on to the machine code of the rules. Nothing is checked there: indices come
from the contract of `propose`, arrays are C-contiguous and outlive the call.
"""

# numba calls the functions below with arguments of its own, by position.
# ruff: noqa: ARG001

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.core.types.containers import NamedTuple
from numba.extending import intrinsic

_INT64 = cgutils.ir.IntType(64)


def _array_struct(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value)


def _field(types_given: Any, index: Any) -> int | None:
    """The constant index of a field; None while numba tries the type without its value."""
    if not isinstance(types_given, NamedTuple) or not isinstance(index, types.IntegerLiteral):
        return None
    return int(index.literal_value)


@intrinsic
def address_of_field(typing_context: Any, holder: Any, index: Any) -> Any:
    """The address of the array at a constant position of a named tuple."""
    position = _field(holder, index)
    if position is None:
        return None
    array = holder.types[position]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct = _array_struct(context, builder, array, builder.extract_value(arguments[0], position))
        return builder.ptrtoint(struct.data, _INT64)

    return types.int64(holder, index), generate


@intrinsic
def width_of_field(typing_context: Any, holder: Any, index: Any) -> Any:
    """The row width (second dimension) of the array at a constant position of a named tuple."""
    position = _field(holder, index)
    if position is None:
        return None
    array = holder.types[position]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct = _array_struct(context, builder, array, builder.extract_value(arguments[0], position))
        return builder.extract_value(struct.shape, 1)

    return types.int64(holder, index), generate


@intrinsic
def address_of(typing_context: Any, array: Any) -> Any:
    """The address of an array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct = _array_struct(context, builder, array, arguments[0])
        return builder.ptrtoint(struct.data, _INT64)

    return types.int64(array), generate
