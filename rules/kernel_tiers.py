"""`participant.tiers` in the kernel (§11.1): a level is one byte of the cells, all else of it follows from definitions.

Level, rank and benefits are constants of each level, so an access is a chain of comparisons with the positions of the
levels. Where somebody is at base, the tier type is absent from `tiers` and the access an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from earnbook.ledger.schema import TIME_NONE, Kind
from earnbook.rules.kernel_shapes import STARTS, parts, rebuilt
from earnbook.rules.kernel_values import Bool, Dyn, Failure, Lowered, Time, Unsupported
from earnbook.rules.models_tiers import Level
from earnbook.rules.tiers import json_value

if TYPE_CHECKING:
    from earnbook.rules.kernel_expressions import KernelWriter

FIELDS = frozenset({"level", "rank", "acquired_at", "expires_at", "benefits"})
"""The fields of every held level."""


def tier_access(writer: KernelWriter, path: Sequence[str]) -> Lowered:
    """The value of `participant.tiers.<path>`; raises Unsupported for maps and lists as a whole."""
    levels = _levels(writer, path)
    if not levels:
        return Failure()
    match tuple(path):
        case (key, "level"):
            return _of_level(writer, key, levels, lambda level: writer.constant(level.key))
        case (key, "rank"):
            return _of_level(writer, key, levels, lambda level: writer.constant(level.rank))
        case (key, "acquired_at"):
            slot, column, position = _place(writer, key)
            time = writer.code.assign("v", "0")
            with writer.code.nested(f"if {position} > 0:"):
                writer.code.emit(f"{time} = {writer.code.cell('tier_acquired_at', column, slot)}")
            return Time(time, f"{position} == 0")
        case (key, "expires_at"):
            return _expiry(writer, key)
        case (key, "benefits", *fields) if fields:
            return _of_level(writer, key, levels, lambda level: _benefit(writer, level, fields))
        case _:
            raise Unsupported(f"`participant.tiers.{'.'.join(path)}` is used as a whole")


def tier_has(writer: KernelWriter, path: Sequence[str]) -> Lowered:
    """`has(participant.tiers.<path>)`: whether the type is held, or whether the level has the benefit."""
    levels = _levels(writer, path)
    match tuple(path):
        case (key,):
            return Bool(writer.code.assign("b", f"1 if {_place(writer, key)[2]} > 0 else 0") if levels else "0")
        case (key, field) if field in FIELDS:
            return Bool(writer.code.assign("b", f"1 if {_place(writer, key)[2]} > 0 else 2") if levels else "2")
        case (key, "benefits", *fields):
            return _of_level(writer, key, levels, lambda level: _has_benefit(level, fields)) if levels else Bool("2")
        case _:
            raise Unsupported(f"has(participant.tiers.{'.'.join(path)}) is not in the kernel")


def _levels(writer: KernelWriter, path: Sequence[str]) -> tuple[Level, ...]:
    """The levels of the tier type that a path begins with; empty when the program has no such type."""
    return writer.program.tiers.get(path[0], ()) if path else ()


def _place(writer: KernelWriter, key: str) -> tuple[str, str, str]:
    """Slot and column of a tier type, and the position of the participant's level there (0: base or nobody)."""
    code = writer.code
    column = code.assign("c", writer.literals.name(code, "tier", key))
    position = code.assign("p", "0")
    with code.nested(f"if slot >= 0 and {column} >= 0:"):
        code.emit(f"{position} = {code.cell('tier_level', column, 'slot')}")
    return "slot", column, position


def _of_level(writer: KernelWriter, key: str, levels: Sequence[Level], value_of: Callable[[Level], Lowered]) -> Lowered:
    """What is constant of a level, by the level that is held; values of different types become a Dyn."""
    position = _place(writer, key)[2]
    values = [value_of(level) for level in levels]
    known: list[Lowered] = [value for value in values if not isinstance(value, Failure)]
    if not known:
        return Failure()
    code, shape = writer.code, type(known[0])
    alike = shape in STARTS and all(type(value) is shape for value in known)
    targets = [code.assign("j", start) for start in STARTS[shape if alike else Dyn]]
    for place, value in enumerate(values, start=1):
        if isinstance(value, Failure):
            continue
        with code.nested(f"if {position} == {place}:"):
            for target, part in zip(targets, parts(value if alike else writer.dynamic(value)), strict=True):
                code.emit(f"{target} = {part}")
    return rebuilt(shape if alike else Dyn, targets, known)


def _expiry(writer: KernelWriter, key: str) -> Lowered:
    """A time, null where the level never expires."""
    slot, column, position = _place(writer, key)
    code = writer.code
    kind, time = code.assign("k", str(int(Kind.ERROR))), code.assign("v", "0")
    with code.nested(f"if {position} > 0:"):
        code.emit(f"{time} = {code.cell('tier_expires_at', column, slot)}")
        code.emit(f"{kind} = {int(Kind.TIMESTAMP)}")
        with code.nested(f"if {time} == {int(TIME_NONE)}:"):
            code.emit(f"{kind} = {int(Kind.NULL)}")
            code.emit(f"{time} = 0")
    return Dyn(kind, time, "0", False)


def _benefit(writer: KernelWriter, level: Level, fields: Sequence[str]) -> Lowered:
    value = json_value(level.benefits or {})
    for field in fields:
        if not isinstance(value, Mapping) or field not in value:
            return Failure()
        value = value[field]
    return writer.constant(value)


def _has_benefit(level: Level, fields: Sequence[str]) -> Lowered:
    value = json_value(level.benefits or {})
    for field in fields[:-1]:
        if not isinstance(value, Mapping) or field not in value:
            return Bool("2")
        value = value[field]
    return Bool(("1" if fields[-1] in value else "0") if isinstance(value, Mapping) else "2")
