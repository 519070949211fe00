"""Tier types with levels and lifecycle (§14), and rewards of the catalog (§16.2), as definition files state them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from earnbook.rules.issues import IssueCode
from earnbook.rules.models_fields import (
    Amount,
    Definition,
    Duration,
    Id,
    JsonObject,
    Key,
    Number,
    Text,
    Timestamp,
    Whole,
    mistake,
)

EXTENSION_DAYS_MAX = 330
"""31 × extend_months + grace_days may not exceed this (§14.3), so that a downgrade falls before the next period end."""

MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Criterion(Definition):
    """One comparison of a counter with a constant; an absent counter is 0 (§14.2)."""

    counter: Key
    operator: Literal[">=", ">", "==", "<=", "<"]
    threshold: Number


class Qualification(Definition):
    """What a participant's counters must satisfy for a level (§14.2)."""

    mode: Literal["ALL", "ANY"]
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1)]


class Level(Definition):
    """One level of a tier type; a higher rank is better (§14.1)."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {"id", "tier_id", "program_id"}

    key: Key
    rank: Annotated[Whole, Field(ge=1, le=2_147_483_647)]
    display_name: Key | None = None
    qualification: Qualification | None = None
    benefits: JsonObject | None = None
    color: Text | None = None
    icon_url: Text | None = None


class Retention(Definition):
    """How long a level lasts (§14.4)."""

    mode: Literal["PERIOD_BASED", "ACTIVITY_REFRESH"]
    duration: Duration | None = None


class QualificationPeriod(Definition):
    """When a qualification period ends: 1 January, a fixed day of the year, or never (§14.3)."""

    type: Literal["CALENDAR_YEAR", "FIXED_YEAR", "NONE"]
    start_month: Annotated[Whole, Field(ge=1, le=12)] | None = None
    start_day: Annotated[Whole, Field(ge=1, le=31)] | None = None

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        given = self.start_month is not None or self.start_day is not None
        if self.type != "FIXED_YEAR":
            if given:
                raise mistake(
                    IssueCode.TIER_LIFECYCLE,
                    "start_month and start_day belong to FIXED_YEAR",
                    "remove them or set type to FIXED_YEAR",
                )
            return self
        month, day = self.start_month or 0, self.start_day or 0
        if not month or not 1 <= day <= MONTH_DAYS[month - 1]:
            raise mistake(
                IssueCode.TIER_LIFECYCLE,
                "FIXED_YEAR needs a start_month and a start_day that exists in it",
                "write for example start_month: 4 and start_day: 1",
            )
        return self


class StatusValidity(Definition):
    """How many months a level outlives its period."""

    extend_months: Annotated[Whole, Field(ge=0)] = 0


class DowngradePolicy(Definition):
    """What happens to a level that is not renewed (§14.4)."""

    mode: Literal["DROP_TO_QUALIFYING", "DROP_ONE", "HOLD"] = "DROP_TO_QUALIFYING"
    grace_days: Annotated[Whole, Field(ge=0)] = 0
    min_level: Key | None = None


class QualifyingCounters(Definition):
    """Counters that count towards levels and are rolled at each period end."""

    qualifying: tuple[Key, ...] = ()
    rollover: Literal["NONE", "EXCESS"] = "NONE"


class Lifecycle(Definition):
    """How levels are kept and lost (§14.3)."""

    retention: Retention | None = None
    qualification_period: QualificationPeriod | None = None
    status_validity: StatusValidity | None = None
    downgrade_policy: DowngradePolicy | None = None
    counters: QualifyingCounters | None = None

    @model_validator(mode="after")
    def _check_lifecycle(self) -> Self:
        retention = self.retention
        period = self.qualification_period.type if self.qualification_period else "NONE"
        if retention is not None and retention.mode == "PERIOD_BASED" and period == "NONE":
            raise mistake(
                IssueCode.TIER_LIFECYCLE,
                "PERIOD_BASED retention has no period",
                "set qualification_period.type to CALENDAR_YEAR or FIXED_YEAR",
            )
        if retention is not None and retention.mode == "ACTIVITY_REFRESH" and not retention.duration:
            raise mistake(
                IssueCode.TIER_LIFECYCLE,
                "ACTIVITY_REFRESH retention has no duration",
                "add retention.duration such as 8760h",
            )
        months = self.status_validity.extend_months if self.status_validity else 0
        days = self.downgrade_policy.grace_days if self.downgrade_policy else 0
        if 31 * months + days > EXTENSION_DAYS_MAX:
            raise mistake(
                IssueCode.TIER_LIFECYCLE,
                f"31 × extend_months + grace_days is {31 * months + days}, more than {EXTENSION_DAYS_MAX}",
                "shorten extend_months or grace_days",
            )
        return self


class TierType(Definition):
    """An independent track of levels in one program (§14.1)."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {"archived_at", "participant_count"}

    id: Id = ""
    program_id: Key = ""
    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=255)]
    display_name: Key
    levels: Annotated[tuple[Level, ...], Field(min_length=1)]
    lifecycle: Lifecycle | None = None
    status: Literal["ACTIVE", "ARCHIVED"] = "ACTIVE"


class Reward(Definition):
    """An item of the rewards catalog (§16.2); `unit_cost` is in units of its asset."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {
        "redeemed_count",
        "remaining",
        "asset_symbol",
        "archived_at",
    }

    id: Id = ""
    program_id: Key = ""
    key: Key = ""
    name: Key
    description: Text | None = None
    category: Annotated[str, Field(max_length=100)] | None = None
    redemption_type: Literal["UNIT_BASED", "AMOUNT_BASED"]
    asset_id: Key
    unit_cost: Amount
    max_total: Annotated[Whole, Field(ge=1)] | None = None
    max_per_participant: Annotated[Whole, Field(ge=1)] | None = None
    status: Literal["DRAFT", "ACTIVE", "OUT_OF_STOCK", "ARCHIVED"]
    available_from: Timestamp | None = None
    available_until: Timestamp | None = None
    metadata: JsonObject | None = None

    @model_validator(mode="after")
    def _check_reward(self) -> Self:
        if self.redemption_type != "UNIT_BASED" and (
            self.max_total is not None or self.max_per_participant is not None
        ):
            raise mistake(
                IssueCode.INVALID_COMBINATION,
                "max_total and max_per_participant count units",
                "remove them or set redemption_type to UNIT_BASED",
            )
        start, end = self.available_from, self.available_until
        if start is not None and end is not None and start > end:
            raise mistake(IssueCode.INVALID_VALUE, "available_from is after available_until", "exchange the two times")
        return self
