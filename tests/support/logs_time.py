"""Random logs over a year, for what falls due in it: the days of January drawn apart, and operations on automations."""

from __future__ import annotations

import re
from datetime import date, timedelta

from tests.support.logs_draw import Draw, Members, operation
from tests.support.programs_time import DATES

DAYS_APART = 18
"""20 days of January 2026 become a year, until 9 December."""
FIXED_DAYS = ("2026-12-20", "2027-01-15", "2027-03-03")
AFTER_THE_YEAR = ("2027-06-01T00:00:00Z", "2028-03-01T00:00:00Z")
ADVANCE_TO = ("2026-12-10T00:00:00Z", "2027-01-01T00:00:00Z", *AFTER_THE_YEAR)

_STAMP = re.compile(r'("(?:event_timestamp|effective_at)": "2026-01-)(\d\d)(?=T)')


def spread(row: str) -> str:
    """The row with its day drawn apart; rows that are damaged elsewhere too."""

    def moved(found: re.Match[str]) -> str:
        day = date(2026, 1, 1) + timedelta(days=(int(found[2]) - 1) * DAYS_APART)
        return found[1].removesuffix("2026-01-") + day.isoformat()

    return _STAMP.sub(moved, row)


def change_automation(draw: Draw) -> Members:
    """Triggers, cancels or refreshes an automation, mostly one that this can be done to, now and then none at all."""
    kind = draw.chance.choice(("trigger_automation", "trigger_automation", "cancel_automation", "refresh_automation"))
    fitting = {"cancel_automation": "one_time", "refresh_automation": "participant_state"}.get(kind, "cron")
    automations = draw.program["automations"]
    keys = [automation["key"] for automation in automations]
    likely = [automation["key"] for automation in automations if automation["trigger"]["type"] == fitting]
    key = draw.chance.choice(likely if likely and draw.chance.random() < 0.6 else [*keys, "none"])
    return operation(kind, draw.program, automation_id=key)


def tag_program(draw: Draw) -> Members:
    """Changes what filters read without changing a participant; the next evaluation sees it."""
    kind = draw.chance.choice(("add_tag", "add_tag", "remove_tag"))
    return operation(kind, draw.program, target="PROGRAM", tag="vip")


def set_birthday(draw: Draw) -> Members:
    """A date in an attribute, or what is none."""
    name = draw.chance.choice(("alice", "bob", "Zoë"))
    return operation("set_attribute", None, external_id=name, key="birthday", value=draw.chance.choice(DATES))
