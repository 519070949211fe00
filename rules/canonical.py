"""Canonical JSON (§3.4): one text per value, for hashes and comparisons.

Members are sorted by code point, there is no white space, and numbers stand plain: no exponent, no trailing zeros, no
leading `+`. Values are dict, list or tuple, text, bool, int, Decimal and None; a binary float is refused.
"""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256
from typing import Any


def canonical_json(value: Any) -> str:
    """The canonical text of a JSON value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            return str(value)
        case Decimal():
            return plain_number(value)
        case dict():
            members = (f"{canonical_json(name)}:{canonical_json(value[name])}" for name in sorted(value))
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(map(canonical_json, value)) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical JSON")


def read_json(text: str) -> Any:
    """The value of a JSON text; numbers are int or Decimal."""
    return json.loads(text, parse_float=Decimal)


def plain_number(number: Decimal) -> str:
    """A finite decimal without exponent and without trailing zeros; zero has no sign."""
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def sha256_text(text: str) -> str:
    """SHA-256 of the text's UTF-8 bytes as lower-case hex."""
    return sha256(text.encode("utf-8")).hexdigest()
