"""The lifecycle of a tier type for the oracle (§14.3): what a definition says, and the dates that follow from it.

Where SEMANTICS is open: a type has period ends whenever it has a period, also without PERIOD_BASED retention, since
its counters are rolled then; a level that was granted exactly at a boundary belongs to the period that begins there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.oracle_calendar import DAY, add_months, next_year_day
from tests.support.oracle_times import parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """`period` is the (month, day) that a period begins on, None for no period; `duration` is of ACTIVITY_REFRESH."""

    is_period_based: bool
    duration: int | None
    period: tuple[int, int] | None
    extend_months: int
    policy: str
    grace: int
    min_level: str | None
    qualifying: tuple[str, ...]
    is_excess: bool

    @property
    def can_downgrade(self) -> bool:
        return self.policy != "HOLD"

    def period_end(self, after: int) -> int | None:
        """The first boundary strictly after a time."""
        return None if self.period is None else next_year_day(after, *self.period)

    def expiry(self, granted_at: int) -> int | None:
        """`expires_at` of a level that is granted or renewed at a time (§14.4)."""
        if not self.can_downgrade:
            return None
        if self.duration is not None:
            return granted_at + self.duration
        end = self.period_end(granted_at) if self.is_period_based else None
        return None if end is None else add_months(end, self.extend_months)

    def downgrade_date(self, period_end: int) -> int | None:
        """D of a level that was not renewed at a period end."""
        extended = add_months(period_end, self.extend_months)
        return None if extended is None else extended + self.grace


def read_lifecycle(document: Mapping[str, Any] | None) -> Lifecycle | None:
    """The lifecycle of a tier type, None where it has none."""
    if document is None:
        return None
    retention = document.get("retention") or {}
    policy = document.get("downgrade_policy") or {}
    counters = document.get("counters") or {}
    refreshes = retention.get("mode") == "ACTIVITY_REFRESH"
    return Lifecycle(
        is_period_based=retention.get("mode") == "PERIOD_BASED",
        duration=parse_duration(retention["duration"]) if refreshes else None,
        period=_read_period(document.get("qualification_period") or {}),
        extend_months=(document.get("status_validity") or {}).get("extend_months", 0),
        policy=policy.get("mode", "DROP_TO_QUALIFYING"),
        grace=policy.get("grace_days", 0) * DAY,
        min_level=policy.get("min_level"),
        qualifying=tuple(counters.get("qualifying", ())),
        is_excess=counters.get("rollover", "NONE") == "EXCESS",
    )


def _read_period(document: Mapping[str, Any]) -> tuple[int, int] | None:
    match document.get("type", "NONE"):
        case "CALENDAR_YEAR":
            return (1, 1)
        case "FIXED_YEAR":
            return (document["start_month"], document["start_day"])
        case _:
            return None
