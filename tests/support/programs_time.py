"""Lifecycles of tiers and automations of random definitions, for the features LIFECYCLE and AUTOMATION.

Ticks are weeks apart, so that a year of them stays small, and there is one THRESHOLD at most in a document, so that no
two of them can wake each other for ever. Who shares a qualifying counter shares its period and rollover (§14.4).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.features import participant_id

Document = dict[str, Any]

COUNTERS = ("spend", "visits", "streak")
PERIODS: tuple[Document, ...] = (
    {"type": "CALENDAR_YEAR"},
    {"type": "FIXED_YEAR", "start_month": 2, "start_day": 29},
    {"type": "FIXED_YEAR", "start_month": 5, "start_day": 31},
    {"type": "FIXED_YEAR", "start_month": 9, "start_day": 15},
)
CRONS = ("0 9 * * MON", "30 2 8 3 *", "0 0 1 * *", "15 1 1,15 * *", "0 0 29 2 *", "30 2 * * SUN", "0 12 */9 * *")
ZONES = ("UTC", "America/Chicago", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe")
EVENT_NAMES = ("digest", "digest", "stay", "visit", "purchase", "nothing")
FILTERS = (
    "'vip' in participant.tags",
    "get(participant.counters, 'spend', 0.0) >= 2",
    "now < timestamp('2026-07-01T12:00:00Z')",
    "now.getMonth() % 2 == 0",
    "participant.attributes.city == 'gold'",
    "participant.external_id != 'bob'",
    "participant.status == 'ACTIVE' && !('new' in participant.tags)",
    "participant.counters.missing > 1 || 'vip' in program.tags",
    "'vip' in program.tags",
    "'vip' in program.tags",
    "!('vip' in program.tags)",
)
DATES = ("02-29", "06-15", "12-31", "2026-03-08", "2026-11-01", "2025-01-01", "02-30", "soon", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """The period and rollover that goes with each counter, for all programs of a document."""

    of_counter: Mapping[str, tuple[Document, str]]


def draw_periods(chance: random.Random) -> Periods:
    """Two of the counters go together, the third may differ."""
    shared, own = [(chance.choice(PERIODS), chance.choice(("NONE", "EXCESS"))) for _ in range(2)]
    return Periods(of_counter={"spend": shared, "visits": shared, "streak": own})


def add_lifecycles(chance: random.Random, tiers: Sequence[Document], periods: Periods) -> None:
    """Gives most tier types a lifecycle, and few of their levels no qualification."""
    for tier in tiers:
        if chance.random() < 0.15:
            continue
        main = chance.choice(COUNTERS)
        period, rollover = periods.of_counter[main]
        same = [name for name in COUNTERS if periods.of_counter[name] == (period, rollover)]
        tier["lifecycle"] = _lifecycle(chance, tier, period, rollover, [main, *(name for name in same if name != main)])


def _lifecycle(
    chance: random.Random, tier: Document, period: Document, rollover: str, counters: Sequence[str]
) -> Document:
    is_period_based = chance.random() < 0.65
    months = chance.choice((0, 0, 1, 2, 6))
    policy: Document = {
        "mode": chance.choice(("DROP_TO_QUALIFYING", "DROP_TO_QUALIFYING", "DROP_ONE", "DROP_ONE", "HOLD"))
    }
    if chance.random() < 0.7:
        policy["grace_days"] = chance.choice((0, 1, 30, 60, 140))
    if chance.random() < 0.4:
        policy["min_level"] = chance.choice(tier["levels"])["key"]
    retention: Document = {"mode": "PERIOD_BASED"}
    if not is_period_based:
        retention = {"mode": "ACTIVITY_REFRESH", "duration": chance.choice(("720h", "2160h", "1000h30m"))}
    lifecycle: Document = {"retention": retention, "downgrade_policy": policy}
    if is_period_based or chance.random() < 0.5:
        lifecycle["qualification_period"] = period
        lifecycle["counters"] = {"qualifying": list(counters)[: chance.choice((1, 2))], "rollover": rollover}
    if months:
        lifecycle["status_validity"] = {"extend_months": months}
    return lifecycle


def change_lifecycles(chance: random.Random, definitions: Document) -> Document:
    """The definitions with other lifecycles and thresholds here and there, as a later load may bring them.

    Periods and rollovers stay, for they are shared.
    """
    changed: Document = copy.deepcopy(definitions)
    for tier in (tier for program in changed["programs"] for tier in program.get("tiers", ())):
        for level in tier["levels"]:
            if "qualification" in level and chance.random() < 0.3:
                for criterion in level["qualification"]["criteria"]:
                    criterion["threshold"] = chance.choice((0, 1, 2, 5, 10))
        lifecycle = tier.get("lifecycle")
        if lifecycle is None:
            continue
        if chance.random() < 0.1:
            del tier["lifecycle"]
            continue
        fresh = _lifecycle(chance, tier, {}, "NONE", COUNTERS)
        has_period = "qualification_period" in lifecycle
        if has_period or fresh["retention"]["mode"] == "ACTIVITY_REFRESH":
            lifecycle["retention"] = fresh["retention"]
        lifecycle["downgrade_policy"] = fresh["downgrade_policy"]
    return changed


# --- automations -----------------------------------------------------------------------------------------------------


def automation_rules(chance: random.Random, assets: Sequence[Document]) -> list[Document]:
    """What events of automations bring."""
    digest: list[Document] = [{"type": "COUNTER", "key": "visits", "value": "1"}]
    if assets:
        digest.append({"type": "CREDIT", "asset": chance.choice(assets)["symbol"], "amount": "2"})
    tag = chance.choice(("vip", "new"))
    reached = [{"type": chance.choice(("TAG", "UNTAG")), "tag": tag}]
    toggle = [{"type": "TAG" if chance.random() < 0.6 else "UNTAG", "tag": "vip"}]
    date = [{"type": "SET_ATTRIBUTE", "key": "birthday", "value": chance.choice(DATES[:5])}]
    return [
        {"condition": "event.type == 'digest'", "actions": digest},
        {"condition": "event.type == 'reached'", "actions": reached},
        {"condition": "event.type == 'visit'", "actions": toggle},
        {"condition": "event.type == 'signup'", "actions": date},
        {"condition": "event.type == 'purchase'", "actions": [{"type": "COUNTER", "key": "spend", "value": "1"}]},
        {"condition": "event.type == 'refund'", "actions": [{"type": "COUNTER", "key": "spend", "value": "-3"}]},
    ]


def random_automations(chance: random.Random, *, has_threshold: bool) -> list[Document]:
    """Two to five automations of all kinds; a THRESHOLD only where the document has none yet."""
    makers = [_cron, _cron, _one_time, _immediate, _attribute_date, _attribute_date, _interval, _cron_subscription]
    automations = [chance.choice(makers)(chance) for _ in range(chance.choice((1, 2, 3, 4)))]
    if not has_threshold:
        automations.append(_threshold(chance))
    chance.shuffle(automations)
    for number, automation in enumerate(automations, start=1):
        automation |= {"key": f"auto{number}", "name": f"Automation {number}"}
        automation.setdefault("event_name", chance.choice(EVENT_NAMES))
        automation.setdefault("scope", "participants")
        if chance.random() < 0.4:
            automation["participant_filter"] = chance.choice(FILTERS)
        if chance.random() < 0.2:
            automation["guard_condition"] = chance.choice(FILTERS)
        if chance.random() < 0.3:
            automation["payload"] = {"amount": 5, "flag": True, "type": "replaced"}
        if chance.random() < 0.12:
            automation["status"] = chance.choice(("paused", "paused", "archived"))
    return automations


def changed_automations(chance: random.Random, automations: Sequence[Document]) -> list[Document]:
    """What a later load says of them: other statuses, filters and triggers, some left out, some new."""
    changed = []
    for automation in automations:
        luck, other = chance.random(), dict(automation)
        if luck < 0.25:
            other["status"] = chance.choice(("active", "active", "paused", "archived"))
        elif luck < 0.4:
            other["participant_filter"] = chance.choice(FILTERS)
        elif luck < 0.5 and other["trigger"]["type"] == "one_time":
            other["trigger"] = {"type": "one_time", "trigger_at": "2026-11-11T11:11:11Z"}
        elif luck < 0.6:
            other["payload"] = {"amount": 7}
        elif luck < 0.7:
            continue
        changed.append(other)
    if chance.random() < 0.6:
        new = {"key": "late", "name": "Late", "event_name": "digest", "scope": "participants"}
        changed.append({**new, **chance.choice((_immediate, _immediate, _one_time, _interval))(chance)})
    return changed


def _cron(chance: random.Random) -> Document:
    scope = chance.choice(("program", "participants"))
    return {"scope": scope, "trigger": {"type": "cron", **_ticks(chance)}}


def _ticks(chance: random.Random) -> Document:
    ticks: Document = {"cron_expression": chance.choice(CRONS)}
    if chance.random() < 0.7:
        ticks["timezone"] = chance.choice(ZONES)
    return ticks


def _one_time(chance: random.Random) -> Document:
    times = ("2025-12-01T00:00:00Z", "2026-03-05T00:00:00Z", "2026-06-06T06:06:06.5Z", "2027-01-01T00:00:00Z")
    automation: Document = {
        "scope": chance.choice(("program", "participants")),
        "trigger": {"type": "one_time", "trigger_at": chance.choice(times)},
    }
    if automation["scope"] == "program" and chance.random() < 0.5:
        automation["participant_id"] = participant_id(chance.choice(("alice", "bob", "bob", "nobody")))
    return automation


def _immediate(_chance: random.Random) -> Document:
    return {"trigger": {"type": "immediate"}}


def _attribute_date(chance: random.Random) -> Document:
    config: Document = {"attribute": chance.choice(("birthday", "birthday", "birthday", "city"))}
    if chance.random() < 0.4:
        config["offset_days"] = chance.choice((-7, -1, 1, 30, 366))
    if chance.random() < 0.4:
        config["time"] = chance.choice(("02:30", "09:00", "23:59"))
    trigger = {"type": "participant_state", "schedule_type": "ATTRIBUTE_DATE", "schedule_config": config}
    return {"trigger": trigger | ({"timezone": chance.choice(ZONES)} if chance.random() < 0.6 else {})}


def _interval(chance: random.Random) -> Document:
    config = {"every": chance.choice(("720h", "1000h0m0.5s", "2400h"))}
    return {"trigger": {"type": "participant_state", "schedule_type": "INTERVAL", "schedule_config": config}}


def _cron_subscription(chance: random.Random) -> Document:
    ticks = _ticks(chance)
    zone = {"timezone": ticks.pop("timezone")} if "timezone" in ticks else {}
    return {"trigger": {"type": "participant_state", "schedule_type": "CRON", "schedule_config": ticks, **zone}}


def _threshold(chance: random.Random) -> Document:
    """Its events change no counter of their own, so that it does not wake itself."""
    config: Document = {
        "counter": chance.choice(COUNTERS),
        "operator": chance.choice((">=", ">=", ">", "<", "==", "<=")),
        "threshold": chance.choice((0, 1, 2, 3, 5)),
    }
    trigger = {"type": "participant_state", "schedule_type": "THRESHOLD", "schedule_config": config}
    return {"event_name": "reached", "trigger": trigger}
