"""Random logs over a year, for what falls due in it: the days of January drawn apart, and operations on automations."""

from __future__ import annotations

import re
from datetime import date, timedelta

from tests.support.logs_draw import Draw, Members, operation
from tests.support.programs_time import DATES

DAYS_APART = 18
"""20 days of January 2026 become a year, until 9 December."""
FIXED_DAYS = ("2026-12-20", "2027-01-15", "2027-03-03")
ADVANCE_TO = ("2026-12-10T00:00:00Z", "2027-01-01T00:00:00Z", "2027-06-01T00:00:00Z", "2028-03-01T00:00:00Z")

_STAMP = re.compile(r'("(?:event_timestamp|effective_at)": "2026-01-)(\d\d)(?=T)')


def spread(row: str) -> str:
    """The row with its day drawn apart; rows that are damaged elsewhere too."""

    def moved(found: re.Match[str]) -> str:
        day = date(2026, 1, 1) + timedelta(days=(int(found[2]) - 1) * DAYS_APART)
        return found[1].removesuffix("2026-01-") + day.isoformat()

    return _STAMP.sub(moved, row)


def change_automation(draw: Draw) -> Members:
    """Triggers, cancels or refreshes an automation, now and then one that is not there."""
    kind = draw.chance.choice(("trigger_automation", "trigger_automation", "cancel_automation", "refresh_automation"))
    keys = [automation["key"] for automation in draw.program["automations"]]
    return operation(kind, draw.program, automation_id=draw.chance.choice((*keys, *keys, "none")))


def set_birthday(draw: Draw) -> Members:
    """A date in an attribute, or what is none."""
    name = draw.chance.choice(("alice", "bob", "Zoë"))
    return operation("set_attribute", None, external_id=name, key="birthday", value=draw.chance.choice(DATES))
