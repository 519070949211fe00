"""Static types of CEL expressions, as the checker infers them and the function table declares them.

The checker is gradual: `dyn` is compatible with everything. `number` appears in declarations only and stands for int,
uint or double, which mix (§5.1). A single capital letter is a type variable; `N` stands for one of the numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Type:
    """A type; `parameters` are those of `list(T)`, `map(K, V)`, `optional(T)` and `type(T)`."""

    kind: str
    parameters: tuple[Type, ...] = ()

    def __str__(self) -> str:
        if not self.parameters:
            return "number" if self == ANY_NUMBER else self.kind
        return f"{self.kind}({', '.join(map(str, self.parameters))})"

    @property
    def is_variable(self) -> bool:
        """Whether this is a type variable of a declaration, or `FREE`."""
        return len(self.kind) == 1

    @property
    def is_dynamic(self) -> bool:
        """Whether nothing is known, so that a value may have any type."""
        return self.kind == "dyn" or self.is_variable


DYN = Type("dyn")
FREE = Type("?")
"""The item of an empty list or of `optional.none()`: it becomes whatever it is joined with."""

NULL = Type("null")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
NUMBER = Type("number")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("timestamp")
DURATION = Type("duration")

ANY_NUMBER = Type("N")
"""The type variable that only numbers fit: of several numbers of one type it is that type, else `number`."""

NUMBERS = frozenset((INT, UINT, DOUBLE, NUMBER))


def list_of(item: Type) -> Type:
    """`list(item)`."""
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    """`map(key, value)`."""
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    """`optional(value)`."""
    return Type("optional", (value,))


def type_of_type(value: Type) -> Type:
    """`type(value)`."""
    return Type("type", (value,))


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a function; of a method the target is not among the parameters."""

    function: str
    target: Type | None
    parameters: tuple[Type, ...]
    result: Type

    def __str__(self) -> str:
        target = "" if self.target is None else f"{self.target}."
        return f"{target}{self.function}({', '.join(map(str, self.parameters))}) -> {self.result}"


_SIGNATURE = re.compile(r"(?:\((?P<target>.+)\)\.)?(?P<name>[^()]+)\((?P<parameters>.*)\) -> (?P<result>.+)")


def parse_signature(text: str) -> Signature:
    """A signature from text such as `get(map(K, V), K, V) -> V` or `(string).contains(string) -> bool`."""
    match = _SIGNATURE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a signature: {text}")
    target = match.group("target")
    return Signature(
        match.group("name"),
        parse_type(target) if target is not None else None,
        tuple(parse_type(part) for part in _split(match.group("parameters"))),
        parse_type(match.group("result")),
    )


def parse_type(text: str) -> Type:
    """A type from text such as `map(string, list(int))`."""
    kind, bracket, rest = text.strip().partition("(")
    if not bracket:
        return Type(kind)
    return Type(kind, tuple(parse_type(part) for part in _split(rest.removesuffix(")"))))


def _split(text: str) -> list[str]:
    """The parts between commas that are outside brackets."""
    parts: list[str] = []
    depth = 0
    current = ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current] if current.strip() else parts


def join(first: Type, second: Type) -> Type:
    """The type of a value that has one of the two types: `number` for two numbers, `dyn` where nothing holds both.

    Lists, maps and optionals are joined part by part where each part of one holds that of the other, as `list(dyn)`
    holds `list(int)`; a list of ints and a list of texts have no list type in common.
    """
    if first == second or second == FREE:
        return first
    if first == FREE:
        return second
    if first in NUMBERS and second in NUMBERS:
        return NUMBER
    if first.kind == second.kind and len(first.parameters) == len(second.parameters):
        pairs = list(zip(first.parameters, second.parameters, strict=True))
        if all(compatible(one, other) or {one, other} <= NUMBERS for one, other in pairs):
            return Type(first.kind, tuple(join(one, other) for one, other in pairs))
    return DYN


def compatible(declared: Type, given: Type) -> bool:
    """Whether a value of type `given` may be what `declared` wants; `dyn` and type variables may be anything."""
    if DYN in (declared, given) or declared.is_variable or given.is_variable:
        return True
    if declared == NUMBER:
        return given in NUMBERS
    if given == NUMBER:
        return declared in NUMBERS
    if declared.kind != given.kind:
        return False
    pairs = zip(declared.parameters, given.parameters, strict=False)
    return all(compatible(one, other) for one, other in pairs)
