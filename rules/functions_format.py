"""`text.format(list)`: the clauses `%s %d %f %e %b %o %x %X %%`, with a precision for `%f` and `%e` (§11.2).

Numbers are exact decimals, rounded half to even where a precision cuts them. As in other implementations of CEL, a
precision at another clause has no effect, and `%f` and `%e` also take the texts of the numbers that have no literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal

from earnbook.rules.syntax import Uint
from earnbook.rules.values import (
    CelError,
    Duration,
    Timestamp,
    TypeValue,
    Value,
    checked_length,
    key_value,
    no_overload,
    spoken_type,
)
from earnbook.rules.values_numbers import number_text
from earnbook.rules.values_text import to_text

PRECISION_MAX = 1_000

_PRECISION_DEFAULT = 6
_CLAUSE = re.compile(r"%(?:(?P<percent>%)|(?:\.(?P<precision>[0-9]+))?(?P<clause>.?))", re.DOTALL)
_SPECIAL_TEXTS = ("NaN", "Infinity", "-Infinity")
_CONTEXT = Context(prec=4096, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def format_text(template: Value, arguments: Value) -> str:
    """The template with one argument for each clause; too few arguments and unknown clauses are errors."""
    if type(template) is not str or type(arguments) is not list:
        raise no_overload("format", template, arguments)
    remaining = iter(arguments)
    text = _CLAUSE.sub(lambda match: _filled(match, remaining), template)
    checked_length(len(text))
    return text


def _filled(match: re.Match[str], arguments: Iterator[Value]) -> str:
    if match.group("percent"):
        return "%"
    clause = match.group("clause")
    if not clause or clause not in "sdfebxXo":
        raise CelError(f"format has no clause '%{clause}'")
    precision = int((match.group("precision") or str(_PRECISION_DEFAULT))[:9])
    if precision > PRECISION_MAX:
        raise CelError(f"a precision of more than {PRECISION_MAX:,}")
    for argument in arguments:
        return _clause(clause, argument, precision)
    raise CelError("format has fewer arguments than clauses")


def _clause(clause: str, argument: Value, precision: int) -> str:
    match clause:
        case "s":
            return _plain(argument)
        case "d":
            return _decimal(argument)
        case "f":
            return _fixed(argument, precision)
        case "e":
            return _scientific(argument, precision)
        case "b":
            return _based(int(argument) if type(argument) is bool else argument, "b")
        case "o":
            return _based(argument, "o")
        case _:
            return _hexadecimal(argument, clause)


def _plain(argument: Value) -> str:
    """`%s`: the text of any value; lists in brackets, maps in braces with sorted keys."""
    if argument is None:
        return "null"
    if type(argument) is list:
        return _bounded(f"[{', '.join(map(_plain, argument))}]")
    if type(argument) is dict:
        entries = sorted((_plain(key_value(key)), _plain(value)) for key, value in argument.items())
        return _bounded(f"{{{', '.join(f'{key}: {value}' for key, value in entries)}}}")
    if type(argument) is bytes:
        return argument.decode(errors="replace")
    if type(argument) is TypeValue:
        return argument.name
    if type(argument) in (str, bool, int, Uint, Decimal, Timestamp, Duration):
        return to_text(argument)
    raise _refused("s", argument)


def _bounded(text: str) -> str:
    """The text, which may have grown because a value holds one part in many places."""
    checked_length(len(text))
    return text


def _decimal(argument: Value) -> str:
    if type(argument) is int or type(argument) is Uint or type(argument) is Decimal:
        return number_text(argument)
    raise _refused("d", argument)


def _fixed(argument: Value, precision: int) -> str:
    number = _number("f", argument)
    if not number.is_finite():
        return number_text(number)
    if number.adjusted() > 2048:
        raise CelError("a number too large for '%f'")
    return format(number.quantize(Decimal(1).scaleb(-precision, _CONTEXT), context=_CONTEXT), "f")


def _scientific(argument: Value, precision: int) -> str:
    number = _number("e", argument)
    if not number.is_finite():
        return number_text(number)
    rounded = Context(prec=precision + 1, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX).plus(number)
    sign, digits, _ = rounded.as_tuple()
    exponent = rounded.adjusted() if rounded else 0
    significant = "".join(map(str, digits)).ljust(precision + 1, "0")
    mantissa = significant[0] + (f".{significant[1:]}" if precision else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _based(argument: Value, clause: str) -> str:
    if type(argument) is int or type(argument) is Uint:
        return format(int(argument), clause)
    raise _refused(clause, argument)


def _hexadecimal(argument: Value, clause: str) -> str:
    if type(argument) is str or type(argument) is bytes:
        octets = argument.encode(errors="replace") if isinstance(argument, str) else argument
        return octets.hex() if clause == "x" else octets.hex().upper()
    return _based(argument, clause)


def _number(clause: str, argument: Value) -> Decimal:
    if type(argument) is Decimal:
        return argument
    if type(argument) is int or type(argument) is Uint:
        return Decimal(argument)
    if type(argument) is str and argument in _SPECIAL_TEXTS:
        return Decimal(argument)
    raise _refused(clause, argument)


def _refused(clause: str, argument: Value) -> CelError:
    return CelError(f"'%{clause}' does not accept {spoken_type(argument)}")
