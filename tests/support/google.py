"""Google's engine for CEL as a judge: how it is set up here, and values of both engines in one comparable form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from earnbook.rules.syntax import Uint
from earnbook.rules.values import Duration, Timestamp, TypeValue, Value, key_value

ERROR = "error"
"""The comparable form of any error."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = {"timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration", "null": "null_type"}


def google_engine(variables: Mapping[str, cel.Type]) -> cel.Env:
    """Google's engine with its extension libraries."""
    extensions = [
        ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(),
        ext_math.ExtMath(),
        ext_optional.ExtOptional(),
        ext_strings.ExtStrings(),
    ]
    return cel.NewEnv(variables=variables, extensions=extensions)


def google_value(value: cel.Value) -> Value:
    """A result of Google's engine in comparable form."""
    return ERROR if value.type().name() == "ERROR" else comparable(value.plain_value())


def comparable(value: Value) -> Value:
    """A value with its type, the same for both engines: doubles as binary doubles, times in microseconds."""
    match value:
        case bool() | None | str():
            return type(value).__name__, value
        case int() | Uint():
            return "integer", int(value)
        case float() | Decimal():
            return "double", "NaN" if value != value else float(value)
        case bytes() | bytearray():
            return "bytes", bytes(value)
        case list():
            return "list", [comparable(item) for item in value]
        case dict():
            return "map", {comparable(key_value(key)): comparable(item) for key, item in value.items()}
        case Timestamp() | Duration():
            return type(value).__name__, value.nanoseconds // 1000
        case datetime():
            return "Timestamp", (value - _EPOCH) // timedelta(microseconds=1)
        case timedelta():
            return "Duration", value // timedelta(microseconds=1)
        case TypeValue():
            return "type", value.name
        case cel.Type():
            name = str(value.name()).lower().partition("<")[0]
            return "type", _TYPES.get(name, name)
        case _:
            raise TypeError(f"no comparison for {value!r}")
