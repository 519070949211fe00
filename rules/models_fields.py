"""Field types that all definition models share: exact values with messages that name the remedy.

What comes in are plain values as `definitions_read` makes them (text, bool, int, Decimal, list, dict); what the models
hold are exact Python values: text, int microseconds, Decimal. Nothing here looks at another object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, TypeAlias
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from earnbook.rules.calendar import check_zone
from earnbook.rules.cron import check_cron
from earnbook.rules.issues import IssueCode
from earnbook.rules.times import (
    LotDate,
    format_duration,
    format_timestamp,
    parse_duration,
    parse_lot_date,
    parse_timestamp,
)

Json: TypeAlias = "bool | int | Decimal | str | Sequence[Json] | Mapping[str, Json] | None"
"""A JSON value; numbers are int or Decimal, never binary floats."""

DIGITS_MAX = 34
EXPONENT_MAX = 400

AMOUNT_TEXT_MAX = 64

DURATION_REMEDY = "write a Go duration such as 24h, 1h30m or 8760h (units ns us ms s m h)"
TIMESTAMP_REMEDY = "write an RFC 3339 time with offset such as 2026-01-31T00:00:00Z"


def mistake(code: IssueCode, message: str, remedy: str) -> PydanticCustomError:
    """A validation error that becomes an issue of that code."""
    return PydanticCustomError("earnbook", "{message}", {"message": message, "code": code.value, "remedy": remedy})


class Definition(BaseModel):
    """Base of all definition objects: frozen, and every field is known.

    `ignored_fields` are fields that exported API objects carry and callers cannot set (§6.1); the reader drops them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, ser_json_inf_nan="strings")

    ignored_fields: ClassVar[frozenset[str]] = frozenset({"created_at", "updated_at", "deleted_at", "organization_id"})


def _uuid_text(value: Any) -> str:
    if isinstance(value, str) and is_uuid(value):
        return value.lower()
    raise mistake(IssueCode.INVALID_VALUE, "an id is a UUID", "write 8-4-4-4-12 hex digits, or leave `id` out")


def is_uuid(text: str) -> bool:
    """Whether the text has UUID form (8-4-4-4-12 hex digits), and is therefore always taken as an id (§2.2)."""
    if len(text) != 36 or [len(part) for part in text.split("-")] != [8, 4, 4, 4, 12]:
        return False
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _expression_text(value: Any) -> Any:
    """A plain number (or true, false) where CEL is expected is its own CEL text (§6.1, §11.4)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    return value


def _amount(value: Any) -> Decimal:
    remedy = "write a positive decimal such as 100 or '99.50'"
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str) or len(str(value)) > AMOUNT_TEXT_MAX:
        raise mistake(IssueCode.INVALID_VALUE, "an amount is a decimal", remedy)
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise mistake(IssueCode.INVALID_VALUE, f"'{value}' is not a decimal", remedy) from None
    if not amount.is_finite() or amount <= 0:
        raise mistake(IssueCode.INVALID_VALUE, f"'{value}' is not greater than 0", remedy)
    if not is_number_in_range(amount):
        raise mistake(IssueCode.INVALID_VALUE, f"'{value}' has too many digits", remedy)
    return amount


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str) or len(str(value)) > AMOUNT_TEXT_MAX:
        raise mistake(IssueCode.INVALID_VALUE, "a number is expected", "write a decimal such as 500 or 0.5")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise mistake(IssueCode.INVALID_VALUE, f"'{value}' is not a number", "write a decimal such as 500") from None
    if not is_number_in_range(number):
        raise mistake(IssueCode.INVALID_VALUE, f"'{value}' is out of range", "use at most 34 digits")
    return number


def is_number_in_range(number: Decimal) -> bool:
    """Whether a number is inside the limits of §5.2 (34 significant digits, exponent −400 … 400)."""
    if not number.is_finite():
        return False
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return len(digits) <= DIGITS_MAX and (not digits or -EXPONENT_MAX <= number.adjusted() <= EXPONENT_MAX)


def _parsed(parse: Callable[[str], Any], code: IssueCode, remedy: str) -> Callable[[Any], Any]:
    """A validator that parses text. Numbers are refused: they would have no unit."""

    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise mistake(code, "text is expected", remedy)
        try:
            return parse(value)
        except ValueError as error:
            raise mistake(code, str(error), remedy) from None

    return validate


def _checked(check: Callable[[str], None], code: IssueCode, remedy: str) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise mistake(code, "text is expected", remedy)
        try:
            check(value)
        except ValueError as error:
            raise mistake(code, str(error), remedy) from None
        return value

    return validate


def _lot_date(text: str) -> LotDate:
    try:
        return parse_lot_date(text)
    except ValueError:
        raise ValueError(f"'{text[:60]}' is neither a duration nor an RFC 3339 time") from None


_TEXT_OR_NUMBER = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
_DECIMAL_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "number"}]}

Id: TypeAlias = Annotated[str, BeforeValidator(_uuid_text), WithJsonSchema({"type": "string", "format": "uuid"})]
"""A UUID in lower case; left out, it is UUIDv5 of the natural key (§2.3)."""

Key: TypeAlias = Annotated[str, Field(min_length=1, max_length=255)]
"""A natural key or a name: 1 to 255 characters, case-sensitive, not trimmed."""

Text: TypeAlias = Annotated[str, Field(max_length=1000)]
"""Text for people, at most 1,000 characters."""

Cel: TypeAlias = Annotated[str, BeforeValidator(_expression_text), Field(min_length=1), WithJsonSchema(_TEXT_OR_NUMBER)]
"""A CEL expression; a plain number is its own text (§11.4). Its syntax is checked elsewhere."""

CelOrText: TypeAlias = Annotated[str, BeforeValidator(_expression_text), WithJsonSchema(_TEXT_OR_NUMBER)]
"""Literal text or CEL (§11.4), possibly empty."""

Whole: TypeAlias = Annotated[int, Strict()]
Flag: TypeAlias = Annotated[bool, Strict()]

Amount: TypeAlias = Annotated[Decimal, BeforeValidator(_amount), WithJsonSchema(_DECIMAL_SCHEMA)]
"""A positive amount in asset units, as decimal text or a number."""

Number: TypeAlias = Annotated[Decimal, BeforeValidator(_number), WithJsonSchema(_DECIMAL_SCHEMA)]
"""An exact decimal of either sign."""

Duration: TypeAlias = Annotated[
    int,
    BeforeValidator(_parsed(parse_duration, IssueCode.DURATION, DURATION_REMEDY)),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "examples": ["24h", "1h30m"]}),
]
"""A Go duration (§4.6), in microseconds."""

Timestamp: TypeAlias = Annotated[
    int,
    BeforeValidator(_parsed(parse_timestamp, IssueCode.INVALID_VALUE, TIMESTAMP_REMEDY)),
    PlainSerializer(format_timestamp),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An RFC 3339 time with offset (§4.6), in microseconds since 1970 UTC."""

LotDateField: TypeAlias = Annotated[
    LotDate,
    BeforeValidator(
        _parsed(
            _lot_date,
            IssueCode.DURATION,
            "write a Go duration such as 8760h or an RFC 3339 time such as 2026-12-31T23:59:59Z",
        )
    ),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["8760h", "2026-12-31T23:59:59Z"]}),
]
"""`expires_at` or `matures_at`: a duration from the lot's creation, or a fixed time."""

Cron: TypeAlias = Annotated[
    str,
    BeforeValidator(
        _checked(
            check_cron, IssueCode.CRON, "write five fields: minute hour day-of-month month day-of-week, as 0 9 * * MON"
        )
    ),
]
"""A cron expression of five fields (§4.6)."""

Zone: TypeAlias = Annotated[
    str, BeforeValidator(_checked(check_zone, IssueCode.INVALID_VALUE, "write a name such as Europe/Berlin or UTC"))
]
"""A zone of the time zone database."""

JsonObject: TypeAlias = Annotated[Mapping[str, Any], WithJsonSchema({"type": "object"})]
"""A JSON object kept as it is; its numbers are int or Decimal."""
