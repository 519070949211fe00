"""How compiled code reaches a table: by address, not as a numba array.

A numba array is seven numbers and a reference count, and an index into it may be negative. Here a table is an address,
and a table of rows an address and the integers in a row; `table[index]` and `rows[row, column]` are one load or store.
That is a third of the machine code, and of the time to compile it. Nothing is checked: indices are never negative and
never too large, memory outlives the call. Only compiled functions can use these values.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

from numba.core import cgutils, errors, types
from numba.core.datamodel import models
from numba.core.types.containers import BaseTuple
from numba.core.typing.templates import AbstractTemplate, Signature, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

_INT64 = cgutils.ir.IntType(64)


class Flat(types.Type):
    """Integers of so many bits one after the other; `is_fixed`: nobody writes them while compiled code runs."""

    def __init__(self, bits: int, *, is_fixed: bool = False) -> None:
        """A type is its name: the same arguments make the same type."""
        self.bits, self.is_fixed = bits, is_fixed
        super().__init__(name=f"Flat({bits}, {is_fixed})")


class Wide(types.Type):
    """Rows of 64-bit integers."""

    def __init__(self) -> None:
        """There is one such type."""
        super().__init__(name="Wide")


@register_model(Flat)
class _FlatModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _INT64)


@register_model(Wide)
class _WideModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, [("address", types.int64), ("width", types.int64)])


# --- making them ----------------------------------------------------------------------------------------------------


def _built(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], intrinsic(function))


def _as_is(_context: Any, _builder: Any, _signature: Any, arguments: Any) -> Any:
    return arguments[0]


@_built
def integers_at(_typing: Any, _address: Any) -> Any:
    """The int64 values at an address."""
    return Flat(64)(types.int64), _as_is


@_built
def bytes_at(_typing: Any, _address: Any) -> Any:
    """The int8 values at an address."""
    return Flat(8)(types.int64), _as_is


@_built
def rows_at(_typing: Any, _address: Any, _width: Any) -> Any:
    """The rows of so many int64 values at an address."""

    def build(context: Any, builder: Any, sign: Any, arguments: Any) -> Any:
        table = cgutils.create_struct_proxy(sign.return_type)(context, builder)
        table.address, table.width = arguments
        return table._getvalue()

    return Wide()(types.int64, types.int64), build


@_built
def fixed_in(_typing: Any, array: Any) -> Any:
    """The values of a flat int64 array that does not change while compiled code runs."""

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.ptrtoint(data, _INT64)

    return Flat(64, is_fixed=True)(array), build


# --- using them -----------------------------------------------------------------------------------------------------


def _is_index(table: Any, index: Any) -> bool:
    if isinstance(table, Flat):
        return isinstance(index, types.Integer)
    is_pair = isinstance(table, Wide) and isinstance(index, BaseTuple) and len(index) == 2
    return is_pair and all(isinstance(part, types.Integer) for part in index)


@infer_global(operator.getitem)
class _Get(AbstractTemplate):  # type: ignore[misc]
    def generic(self, arguments: Any, _keywords: Any) -> Signature | None:
        table, index = arguments
        return signature(types.int64, table, index) if _is_index(table, index) else None


@infer_global(operator.setitem)
class _Set(AbstractTemplate):  # type: ignore[misc]
    def generic(self, arguments: Any, _keywords: Any) -> Signature | None:
        table, index, _value = arguments
        return signature(types.none, table, index, types.int64) if _is_index(table, index) else None


def _place(context: Any, builder: Any, table: Any, index: Any, given: Any, place: Any) -> Any:
    """A pointer to the value at an index."""
    if isinstance(table, Flat):
        offset = context.cast(builder, place, index, types.int64)
        pointer = builder.inttoptr(given, cgutils.ir.IntType(table.bits).as_pointer())
        return builder.gep(pointer, [offset])
    rows = cgutils.create_struct_proxy(table)(context, builder, value=given)
    row, column = (
        context.cast(builder, builder.extract_value(place, part), index[part], types.int64) for part in range(2)
    )
    pointer = builder.inttoptr(rows.address, _INT64.as_pointer())
    return builder.gep(pointer, [builder.add(builder.mul(row, rows.width), column)])


@lower_builtin(operator.getitem, Flat, types.Any)
@lower_builtin(operator.getitem, Wide, types.Any)
def _load(context: Any, builder: Any, sign: Any, arguments: Any) -> Any:
    table, index = sign.args
    value = builder.load(_place(context, builder, table, index, *arguments))
    if isinstance(table, Flat) and table.is_fixed:
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value if value.type == _INT64 else builder.sext(value, _INT64)


@lower_builtin(operator.setitem, Flat, types.Any, types.Any)
@lower_builtin(operator.setitem, Wide, types.Any, types.Any)
def _store(context: Any, builder: Any, sign: Any, arguments: Any) -> Any:
    table, index, _ = sign.args
    if isinstance(table, Flat) and table.is_fixed:
        raise errors.LoweringError("fixed values are not written")
    pointer = _place(context, builder, table, index, *arguments[:2])
    value = arguments[2]
    builder.store(value if pointer.type.pointee == _INT64 else builder.trunc(value, pointer.type.pointee), pointer)
    return context.get_dummy_value()
