"""Automations as definitions state them (§17.1), for the oracle: triggers, and what a load makes of them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import time
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.oracle_cron import Cron, parse_cron
from tests.support.oracle_json import Fields, Json
from tests.support.oracle_times import parse_duration, parse_time


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeDate:
    attribute: str
    offset_days: int
    at: time
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    every: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """A cron expression in its zone, of a trigger or of subscriptions."""

    cron: Cron
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    counter: str
    operator: str
    threshold: Fraction


Schedule = AttributeDate | Interval | Ticks | Threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """`ticks` is of cron, `trigger_at` of one_time, `schedule` of participant_state; immediate has none of them.

    `content` is the part of the document whose change starts an automation again.
    """

    key: str
    id: uuid.UUID
    number: int
    status: str
    event_name: str
    payload: Fields
    is_for_program: bool
    filter: str | None
    guard: str | None
    participant_id: uuid.UUID | None
    type: str
    ticks: Ticks | None
    trigger_at: int | None
    schedule: Schedule | None
    trigger: Json
    content: Json

    @property
    def event_data(self) -> Fields:
        return {**self.payload, "type": self.event_name}


def read_automation(
    document: Mapping[str, Any], number: int, program_id: uuid.UUID, payload: Json, trigger: Json
) -> Automation:
    """An automation from its document; `payload` and `trigger` are its members as JSON values."""
    key = document.get("key", document["name"])
    given = document["trigger"]
    zone = ZoneInfo(given.get("timezone", "UTC"))
    kind = given["type"]
    assert isinstance(payload, dict)
    person = document.get("participant_id")
    status = document.get("status", "active")
    return Automation(
        key=key,
        id=uuid.uuid5(program_id, f"automation:{key}"),
        number=number,
        status=status,
        event_name=document["event_name"],
        payload=payload,
        is_for_program=document["scope"] == "program",
        filter=document.get("participant_filter"),
        guard=document.get("guard_condition"),
        participant_id=None if person is None else uuid.UUID(person),
        type=kind,
        ticks=Ticks(cron=parse_cron(given["cron_expression"]), zone=zone) if kind == "cron" else None,
        trigger_at=parse_time(given["trigger_at"]) if kind == "one_time" else None,
        schedule=_read_schedule(given, zone) if kind == "participant_state" else None,
        trigger=trigger,
        content=[trigger, document.get("participant_filter"), status],
    )


def archived(automation: Automation) -> Automation:
    """An automation that a load left out (§6.3)."""
    status = "archived"
    return replace(automation, status=status, content=[automation.trigger, automation.filter, status])


def _read_schedule(trigger: Mapping[str, Any], zone: ZoneInfo) -> Schedule:
    config = trigger["schedule_config"]
    match trigger["schedule_type"]:
        case "ATTRIBUTE_DATE":
            return AttributeDate(
                attribute=config["attribute"],
                offset_days=config.get("offset_days", 0),
                at=time.fromisoformat(config.get("time", "00:00")),
                zone=zone,
            )
        case "INTERVAL":
            return Interval(every=parse_duration(config["every"]))
        case "CRON":
            return Ticks(cron=parse_cron(config["cron_expression"]), zone=zone)
        case _:
            threshold = Fraction(str(config["threshold"]))
            return Threshold(counter=config["counter"], operator=config["operator"], threshold=threshold)
