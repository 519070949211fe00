"""Texts and bytes of CEL: conversion from and to other values, and matching by regular expression.

Regular expressions are RE2's, which take time linear in the text (§11.5). Positions count Unicode code points.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Protocol

import re2

from earnbook.rules.syntax import Uint
from earnbook.rules.values import (
    CelError,
    Duration,
    Timestamp,
    Value,
    no_overload,
)
from earnbook.rules.values_numbers import number_text
from earnbook.rules.values_time import duration_text, timestamp_text

PATTERN_LENGTH_MAX = 10_000

_PATTERN_MEMORY_MAX = 8 << 20
_TRUE_TEXTS = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE_TEXTS = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Pattern(Protocol):
    """A compiled regular expression."""

    def search(self, text: str) -> object | None:
        """A match anywhere in the text, or None."""
        ...


def size(operand: Value) -> int:
    """`size(x)`: characters, bytes, items or entries."""
    if type(operand) in (str, bytes, list, dict):
        return len(operand)  # type: ignore[arg-type]
    raise no_overload("size", operand)


def to_text(operand: Value) -> str:
    """`string(x)`: numbers plain (§5.1), true/false, RFC 3339, seconds, bytes as UTF-8."""
    if type(operand) is str:
        return operand
    if type(operand) is bool:
        return "true" if operand else "false"
    if type(operand) is int or type(operand) is Uint or type(operand) is Decimal:
        return number_text(operand)
    if type(operand) is Timestamp:
        return timestamp_text(operand)
    if type(operand) is Duration:
        return duration_text(operand)
    if type(operand) is bytes:
        try:
            return operand.decode()
        except UnicodeDecodeError:
            raise CelError("these bytes are not UTF-8 text") from None
    raise no_overload("string", operand)


def to_bytes(operand: Value) -> bytes:
    """`bytes(x)`: the UTF-8 of a text."""
    if type(operand) is bytes:
        return operand
    if type(operand) is str:
        try:
            return operand.encode()
        except UnicodeEncodeError:
            raise CelError("this text has no UTF-8 form") from None
    raise no_overload("bytes", operand)


def to_bool(operand: Value) -> bool:
    """`bool(x)` of a bool, or of the texts that Go reads as one."""
    if type(operand) is bool:
        return operand
    if type(operand) is str:
        if operand in _TRUE_TEXTS:
            return True
        if operand in _FALSE_TEXTS:
            return False
        raise CelError("bool needs 'true' or 'false'")
    raise no_overload("bool", operand)


def text_contains(text: Value, part: Value) -> bool:
    """`text.contains(part)`."""
    if type(text) is str and type(part) is str:
        return part in text
    raise no_overload("contains", text, part)


def starts_with(text: Value, start: Value) -> bool:
    """`text.startsWith(start)`."""
    if type(text) is str and type(start) is str:
        return text.startswith(start)
    raise no_overload("startsWith", text, start)


def ends_with(text: Value, end: Value) -> bool:
    """`text.endsWith(end)`."""
    if type(text) is str and type(end) is str:
        return text.endswith(end)
    raise no_overload("endsWith", text, end)


def matches(text: Value, pattern: Value) -> bool:
    """`text.matches(pattern)`: whether the RE2 pattern occurs anywhere in the text."""
    if type(text) is not str or type(pattern) is not str:
        raise no_overload("matches", text, pattern)
    try:
        return compile_pattern(pattern).search(text) is not None
    except UnicodeEncodeError:
        raise CelError("this text has no UTF-8 form") from None


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Pattern:
    """The compiled RE2 pattern; a mistake in it is a CelError that says what RE2 does not accept."""
    if len(pattern) > PATTERN_LENGTH_MAX:
        raise CelError(f"a pattern of more than {PATTERN_LENGTH_MAX:,} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_MAX
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        shown = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise CelError(f"not a regular expression of RE2: {shown}") from None
    return compiled
