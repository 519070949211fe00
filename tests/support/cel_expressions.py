"""Random CEL expressions and values, from a seeded generator: mostly nonsense, which is what finds disagreements.

Without decimals they stay in the part of the language where ours and strict CEL mean the same, and maps have at most
one key, because other engines visit keys in any order.
"""

from __future__ import annotations

import random
from decimal import Decimal

from earnbook.rules.values import Value

_INTEGERS = (0, 1, -1, 2, 3, 7, 10, 100, 2**31, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1)
_TEXTS = ("", "a", "b", "ab", "abc", "A", "é", "a b", "0", "😀")
_DECIMALS = ("0.0", "0.5", "1.0", "1.50", "-2.25", "1e20", "0.00000001", "9223372036854775808.0", "33.333333")
_FIELDS = "abcd"
_METHODS = ("startsWith", "endsWith", "contains")


def random_expression(chance: random.Random, depth: int, *, decimals: bool = False) -> str:
    """An expression over `event` with fields a, b, c, d that may be missing or of any type."""
    return _expression(chance, depth, (), decimals)


def random_library_expression(chance: random.Random, depth: int) -> str:
    """As `random_expression`, around functions of the extension libraries, bindings and optionals.

    What Google's engine would refuse while compiling (a literal that is no number in `math.greatest`) is hidden from it
    by `dyn`, so that it becomes an error of the evaluation as it is with us.
    """

    def part(*names: str) -> str:
        return _expression(chance, depth - chance.randint(1, 2), names, decimals=False)

    field, number = chance.choice(_FIELDS), chance.choice(("math.abs", "math.sign", "math.bitNot"))
    pair = chance.choice(("math.greatest", "math.least", "math.bitAnd", "math.bitOr", "math.bitXor"))
    text = chance.choice(("lowerAscii", "upperAscii", "trim"))
    return chance.choice(
        (
            f"cel.bind(y, {part()}, {part('y')})",
            f"cel.bind(y, {part()}, {part()} || y == {part('y')})",
            f"event.a.map(z, cel.bind(y, {part('z')}, {part('y', 'z')}))",
            f"optional.of({part()}).orValue({part()})",
            f"optional.ofNonZeroValue({part()}).orValue({part()})",
            f"optional.none().or(optional.of({part()})).value()",
            f"event.?{field}.orValue({part()})",
            f"event[?'{field}'].hasValue() && {part()}",
            f"event.?{field}.optMap(y, {part('y')}).orValue({part()})",
            f"optional.of({part()}).optFlatMap(y, event.?{field}).hasValue()",
            f"[{part()}, ?event.?{field}, ?optional.ofNonZeroValue({part()})]",
            f"{{'a': {part()}, ?'b': event.?{field}}}",
            f"({part()}).{text}()",
            f"({part()}).indexOf({part()})",
            f"({part()}).lastIndexOf({part()})",
            f"string({part()}).reverse()",
            f"({part()}).charAt({part()})",
            f"({part()}).replace({part()}, {part()})",
            f"[{part()}, {part()}].join({part()})",
            f"strings.quote({part()})",
            f"'%s %d %x'.format([{part()}, {part()}, {part()}])",
            f"{number}(dyn({part()}))",
            f"{pair}(dyn({part()}), dyn({part()}))",
            f"math.bitShiftLeft(dyn({part()}), dyn({part()}))",
            f"math.bitShiftRight(dyn({part()}), dyn({part()}))",
            f"base64.encode(bytes({part()}))",
            f"base64.decode(base64.encode(bytes({part()})))",
            f"base64.decode(string(size({part()})))",
            f"{chance.choice(('string', 'timestamp', 'duration', 'type'))}({part()})",
            f"{chance.choice(('int', 'uint', 'bool', 'timestamp', 'duration', 'bytes'))}(string({part()}))",
        )
    )


def random_value(chance: random.Random, depth: int, *, decimals: bool = False) -> Value:
    """A JSON-like value; numbers are ints, with `decimals` Decimals as well."""
    kind = chance.randrange(7 if depth else 5)
    if kind == 0:
        return chance.choice(_INTEGERS)
    if kind == 1:
        return chance.choice(_TEXTS)
    if kind == 2:
        return chance.random() < 0.5
    if kind == 3:
        return None
    if kind == 4:
        return Decimal(chance.choice(_DECIMALS)) if decimals else chance.choice(_INTEGERS[:6])
    if kind == 5:
        return [random_value(chance, depth - 1, decimals=decimals) for _ in range(chance.randrange(4))]
    names = chance.sample(_FIELDS, chance.randrange(4 if decimals else 2))
    return {name: random_value(chance, depth - 1, decimals=decimals) for name in names}


def _expression(chance: random.Random, depth: int, names: tuple[str, ...], decimals: bool) -> str:
    if depth <= 0:
        return _leaf(chance, names, decimals)

    def part() -> str:
        return _expression(chance, depth - chance.randint(1, 2), names, decimals)

    match chance.randrange(14):
        case 0 | 1:
            return f"({part()} {chance.choice(('&&', '||'))} {part()})"
        case 2 | 3:
            return f"({part()} {chance.choice(('==', '!=', '<', '<=', '>', '>='))} {part()})"
        case 4 | 5:
            return f"({part()} {chance.choice('+-*/%')} {part()})"
        case 6:
            return f"({part()} ? {part()} : {part()})"
        case 7:
            return f"{chance.choice(('!', '-'))}({part()})"
        case 8:
            return f"({part()} in [{part()}, {part()}])"
        case 9:
            return f"({part()}).{chance.choice(_METHODS)}({part()})"
        case 10:
            return _macro(chance, depth, names, decimals)
        case 11:
            return chance.choice((f"size({part()})", f"type({part()})", f"string({part()})"))
        case 12:
            return chance.choice((f"[{part()}, {part()}][{part()}]", f"{{'a': {part()}}}[{part()}]"))
        case _:
            return _leaf(chance, names, decimals)


def _macro(chance: random.Random, depth: int, names: tuple[str, ...], decimals: bool) -> str:
    variable = f"x{len(names)}"
    container = chance.choice(("event.a", "event.b", "[1, 2, 3]", "['a', 'b']", "{'a': 1}", "[]"))
    if chance.random() < 0.3:
        container = f"({_expression(chance, depth - 1, names, decimals)})"
    macro = chance.choice(("all", "exists", "exists_one", "map", "filter"))
    return f"{container}.{macro}({variable}, {_expression(chance, depth - 1, (*names, variable), decimals)})"


def _leaf(chance: random.Random, names: tuple[str, ...], decimals: bool) -> str:
    if names and chance.random() < 0.4:
        return chance.choice(names)
    match chance.randrange(8):
        case 0 | 1 | 2:
            return f"event.{chance.choice(_FIELDS)}"
        case 3:
            return f"has(event.{chance.choice(_FIELDS)})"
        case 4:
            return f"'{chance.choice(_TEXTS)}'"
        case 5:
            return chance.choice(("true", "false", "null"))
        case 6 if decimals:
            return chance.choice(_DECIMALS)
        case _:
            return str(chance.choice(_INTEGERS))
