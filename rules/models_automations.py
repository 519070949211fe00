"""Automations with their triggers (§17) and webhook endpoints (§22.3), as definition files state them."""

from __future__ import annotations

import ipaddress
from typing import Annotated, ClassVar, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from earnbook.rules.issues import IssueCode
from earnbook.rules.models_fields import (
    Cel,
    Cron,
    Definition,
    Duration,
    Id,
    JsonObject,
    Key,
    Number,
    Text,
    Timestamp,
    Whole,
    Zone,
    mistake,
)
from earnbook.rules.times import MINUTE


def _at_least_a_minute(microseconds: int) -> int:
    if microseconds < MINUTE:
        raise mistake(IssueCode.DURATION, "the interval is shorter than 60s", "write at least 60s")
    return microseconds


def _time_of_day(text: str) -> str:
    hours, _, minutes = text.partition(":")
    if len(text) != 5 or not (hours + minutes).isascii() or not (hours + minutes).isdecimal():
        raise mistake(IssueCode.INVALID_VALUE, f"'{text}' is not a time of day", "write HH:MM such as '09:00'")
    if len(hours) != 2 or int(hours) > 23 or int(minutes) > 59:
        raise mistake(IssueCode.INVALID_VALUE, f"'{text}' is not a time of day", "write HH:MM such as '09:00'")
    return text


Interval: TypeAlias = Annotated[Duration, AfterValidator(_at_least_a_minute)]
"""A repetition of at least 60 s, in microseconds (§10.4, §17.4)."""


class CronTrigger(Definition):
    """Fires at each tick of a cron expression, in its zone."""

    type: Literal["cron"]
    cron_expression: Cron
    timezone: Zone = "UTC"


class OneTimeTrigger(Definition):
    """Fires once, at `trigger_at` or at its first activation if that is later."""

    type: Literal["one_time"]
    trigger_at: Timestamp


class ImmediateTrigger(Definition):
    """Fires once, at its first activation."""

    type: Literal["immediate"]


class AttributeDateSchedule(Definition):
    """On the date in an attribute (`MM-DD` yearly, `YYYY-MM-DD` once), shifted by days."""

    attribute: Key
    offset_days: Annotated[Whole, Field(ge=-366, le=366)] = 0
    time: Annotated[str, AfterValidator(_time_of_day)] = "00:00"


class IntervalSchedule(Definition):
    """At the subscription time + k × every."""

    every: Interval


class CronSchedule(Definition):
    """At the ticks after the subscription."""

    cron_expression: Cron


class ThresholdSchedule(Definition):
    """When a counter's criterion becomes true."""

    counter: Key
    operator: Literal[">=", ">", "==", "<=", "<"]
    threshold: Number


class AttributeDateTrigger(Definition):
    """Fires for a subscribed participant on a date of an attribute (§17.4)."""

    type: Literal["participant_state"]
    schedule_type: Literal["ATTRIBUTE_DATE"]
    schedule_config: AttributeDateSchedule
    timezone: Zone = "UTC"


class IntervalTrigger(Definition):
    """Fires for a subscribed participant at fixed intervals (§17.4)."""

    type: Literal["participant_state"]
    schedule_type: Literal["INTERVAL"]
    schedule_config: IntervalSchedule
    timezone: Zone = "UTC"


class CronSubscriptionTrigger(Definition):
    """Fires for a subscribed participant at cron ticks (§17.4)."""

    type: Literal["participant_state"]
    schedule_type: Literal["CRON"]
    schedule_config: CronSchedule
    timezone: Zone = "UTC"


class ThresholdTrigger(Definition):
    """Fires for a subscribed participant when a counter crosses a threshold (§17.4)."""

    type: Literal["participant_state"]
    schedule_type: Literal["THRESHOLD"]
    schedule_config: ThresholdSchedule
    timezone: Zone = "UTC"


ParticipantStateTrigger: TypeAlias = Annotated[
    AttributeDateTrigger | IntervalTrigger | CronSubscriptionTrigger | ThresholdTrigger,
    Field(discriminator="schedule_type"),
]

Trigger: TypeAlias = Annotated[
    CronTrigger | OneTimeTrigger | ImmediateTrigger | ParticipantStateTrigger, Field(discriminator="type")
]

TRIGGER_MODELS: tuple[type[Definition], ...] = (
    CronTrigger,
    OneTimeTrigger,
    ImmediateTrigger,
    AttributeDateTrigger,
    IntervalTrigger,
    CronSubscriptionTrigger,
    ThresholdTrigger,
)
"""The model of each trigger and schedule type, in the order of §17."""


class Automation(Definition):
    """Makes events by itself: by the clock, once, or from participants' state (§17)."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {
        "last_triggered_at",
        "next_trigger_at",
        "next_run_at",
        "last_run_at",
        "archived_at",
    }

    id: Id = ""
    program_id: Key = ""
    key: Key = ""
    name: Key
    event_name: Key
    trigger: Trigger
    scope: Literal["program", "participants"]
    payload: JsonObject | None = None
    participant_filter: Cel | None = None
    guard_condition: Cel | None = None
    filter_hints: JsonObject | None = None
    participant_id: Id | None = None
    description: Text | None = None
    status: Literal["active", "paused", "archived"] = "active"

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if self.scope == "program" and self.trigger.type in ("immediate", "participant_state"):
            raise mistake(
                IssueCode.TRIGGER_SCOPE,
                f"a trigger of type {self.trigger.type} has no scope program",
                "set scope to participants",
            )
        if self.participant_id is not None and (self.trigger.type != "one_time" or self.scope != "program"):
            raise mistake(
                IssueCode.TRIGGER_SCOPE,
                "participant_id needs trigger type one_time and scope program",
                "remove participant_id, or change trigger and scope",
            )
        return self


def _public_https(url: str) -> str:
    remedy = "write an https URL of a public host"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        _ = parts.port
    except ValueError:
        raise mistake(IssueCode.INVALID_VALUE, "the url cannot be read", remedy) from None
    if parts.scheme != "https" or not host:
        raise mistake(IssueCode.INVALID_VALUE, "the url is not an https URL", remedy)
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or not _is_public(host):
        raise mistake(IssueCode.INVALID_VALUE, f"the host {host} is not public", remedy)
    return url


def _is_public(host: str) -> bool:
    """Whether a host is a name, or an address outside private, loopback and other special ranges."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.replace(".", "").isdecimal()


class Webhook(Definition):
    """An endpoint that receives notifications (§22.3); its secret is in the environment variable `secret_env`."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {"archived_at"}

    id: Id = ""
    key: Key = ""
    url: Annotated[str, AfterValidator(_public_https)]
    enabled_events: Annotated[tuple[Key, ...], Field(min_length=1)]
    description: Text | None = None
    metadata: JsonObject | None = None
    status: Literal["ACTIVE", "DISABLED", "ARCHIVED"] = "ACTIVE"
    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
