"""The definitions of one organization as frozen models, with the documented field names (§6.2, §12.1).

Two states share these models. As *read*, references are what the file says and `id`, `key` and `order` may be missing
(empty, empty, 0). After `earnbook.rules.definitions` has resolved them, every `id` and `key` is set, every reference is
a natural key (asset symbol, program key, rule key, tier key) and every `order` is at least 1. Only resolved definitions
leave that module.

Units: amounts are Decimals in asset units, times integer microseconds since 1970 UTC, durations integer microseconds.
Optional fields that are absent or null are None. Lists are tuples in file order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from earnbook.rules.issues import IssueCode
from earnbook.rules.models_automations import Automation, Interval, Webhook
from earnbook.rules.models_fields import (
    Amount,
    Cel,
    CelOrText,
    Cron,
    Definition,
    Duration,
    Flag,
    Id,
    JsonObject,
    Key,
    LotDateField,
    Text,
    Timestamp,
    Whole,
    Zone,
    mistake,
)
from earnbook.rules.models_tiers import Reward, TierType

ORDER_MAX = 2_147_483_647
AMOUNT_MINOR_MAX = 2**63 - 1
"""The largest amount in minor units (§5.3)."""

PROGRAM_TARGETS = frozenset({"TAG", "UNTAG", "COUNTER", "SET_ATTRIBUTE"})
"""Action types whose target may be the program (§12.2)."""

PARTICIPANT_ONLY = frozenset({"SET_TIER", "SCHEDULE_EVENT"})
"""Action types whose target can only be a participant (§12.2)."""


class Target(Definition):
    """Whom an action acts on (§12.2). `id`, `external_id` and `participant_id` are CEL; a UUID as `id` is literal."""

    type: Literal["PARTICIPANT", "GROUP", "PROGRAM"]
    id: Cel | None = None
    external_id: Cel | None = None
    participant_id: Cel | None = None

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        given = [name for name in ("id", "external_id", "participant_id") if getattr(self, name) is not None]
        if self.type == "PARTICIPANT" and len(given) != 1:
            raise mistake(
                IssueCode.INVALID_TARGET,
                f"a PARTICIPANT target has {len(given)} of id, external_id and participant_id",
                "give exactly one of them",
            )
        if self.type == "GROUP" and given != ["id"]:
            raise mistake(
                IssueCode.INVALID_TARGET, "a GROUP target takes id and nothing else", "give the group's id or key as id"
            )
        if self.type == "PROGRAM" and given:
            raise mistake(
                IssueCode.INVALID_TARGET,
                f"a PROGRAM target takes no {given[0]}",
                "remove it: PROGRAM means the event's own program",
            )
        return self


class ActionBase(Definition):
    """What all actions share; `id` of an exported action is ignored."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {"id", "asset_symbol"}


class _Targeted(ActionBase):
    target: Target | None = None

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        kind = str(getattr(self, "type", ""))
        if self.target is None or self.target.type == "PARTICIPANT":
            return self
        if kind in PARTICIPANT_ONLY:
            raise mistake(
                IssueCode.INVALID_TARGET,
                f"{kind} cannot have a {self.target.type} target",
                "use a PARTICIPANT target or leave target out",
            )
        if self.target.type == "PROGRAM" and kind not in PROGRAM_TARGETS:
            raise mistake(
                IssueCode.INVALID_TARGET,
                f"{kind} cannot have a PROGRAM target",
                "PROGRAM targets are for TAG, UNTAG, COUNTER and SET_ATTRIBUTE",
            )
        return self


class CreditAction(_Targeted):
    """Adds value to a holder (§9.3); `expires_at`, `matures_at` and `reference_id` need a LOT asset."""

    type: Literal["CREDIT"]
    asset_id: Key
    amount: Cel
    bucket: Literal["AVAILABLE", "HELD"] = "AVAILABLE"
    description: Text | None = None
    reference_id: Cel | None = None
    expires_at: LotDateField | None = None
    matures_at: LotDateField | None = None

    @model_validator(mode="after")
    def _check_dates(self) -> Self:
        if self.matures_at is not None and self.bucket == "HELD":
            raise mistake(
                IssueCode.INVALID_COMBINATION,
                "a credit to HELD cannot have matures_at",
                "remove matures_at, or credit bucket AVAILABLE",
            )
        expires, matures = self.expires_at, self.matures_at
        if expires is not None and expires.is_duration and expires.microseconds == 0:
            raise mistake(
                IssueCode.INVALID_LOT_DATES,
                "the lot would expire the moment it is created",
                "give expires_at a longer duration",
            )
        if expires is None or matures is None or expires.kind != matures.kind:
            return self
        if matures.microseconds > 0 and expires.microseconds <= matures.microseconds:
            raise mistake(
                IssueCode.INVALID_LOT_DATES,
                f"the lot would expire ({expires}) before it matures ({matures})",
                "make expires_at later than matures_at",
            )
        return self


class DebitAction(_Targeted):
    """Takes value from a holder; with `allow_negative` AVAILABLE may fall below zero (§9.7)."""

    type: Literal["DEBIT"]
    asset_id: Key
    amount: Cel
    bucket: Literal["AVAILABLE", "HELD"] = "AVAILABLE"
    allow_negative: Flag = False
    description: Text | None = None

    @model_validator(mode="after")
    def _check_overdraft(self) -> Self:
        if self.allow_negative and self.bucket == "HELD":
            raise mistake(
                IssueCode.INVALID_COMBINATION,
                "HELD can never be negative",
                "remove allow_negative, or debit bucket AVAILABLE",
            )
        return self


class HoldAction(_Targeted):
    """Moves AVAILABLE value to HELD."""

    type: Literal["HOLD"]
    asset_id: Key
    amount: Cel
    reference_id: Cel | None = None
    description: Text | None = None


class ReleaseAction(_Targeted):
    """Moves HELD value back to AVAILABLE; without `amount` all that matches."""

    type: Literal["RELEASE"]
    asset_id: Key
    amount: Cel | None = None
    reference_id: Cel | None = None
    description: Text | None = None


class ForfeitAction(_Targeted):
    """Sends value to breakage; without `amount` everything in the bucket."""

    type: Literal["FORFEIT"]
    asset_id: Key
    amount: Cel | None = None
    bucket: Literal["AVAILABLE", "HELD"] = "AVAILABLE"
    description: Text | None = None


class VoidHoldAction(_Targeted):
    """Sends provisional lots of a reference back to their sources (§9.8)."""

    type: Literal["VOID_HOLD"]
    asset_id: Key
    reference_id: Cel
    description: Text | None = None


class CounterAction(_Targeted):
    """Adds a number, possibly negative, to a counter (§13.2)."""

    type: Literal["COUNTER"]
    key: Key
    value: Cel
    reset_after: Duration | None = None


class TagAction(_Targeted):
    """Adds a tag, stored in lower case."""

    type: Literal["TAG"]
    tag: Key


class UntagAction(_Targeted):
    """Removes a tag."""

    type: Literal["UNTAG"]
    tag: Key


class SetAttributeAction(_Targeted):
    """Sets an attribute; `value` is literal or CEL as §11.4 says."""

    type: Literal["SET_ATTRIBUTE"]
    key: Key
    value: CelOrText


class SetTierAction(_Targeted):
    """Puts a participant on a level (§14.5); level `""` or `base` removes it."""

    type: Literal["SET_TIER"]
    tier: Key
    level: Annotated[str, Field(max_length=255)]
    expires_at: LotDateField | None = None


class ScheduleEventAction(_Targeted):
    """Makes an event for the target later (§17.5)."""

    type: Literal["SCHEDULE_EVENT"]
    event_name: Key
    delay: Duration
    payload: JsonObject | None = None

    @model_validator(mode="after")
    def _check_delay(self) -> Self:
        if 0 < self.delay < 1_000_000:
            raise mistake(IssueCode.DURATION, "delay is between 0s and 1s", "write 0s, or at least 1s")
        return self


class BroadcastAction(ActionBase):
    """Makes an event for every active participant of the program (§17.5)."""

    type: Literal["BROADCAST"]
    event_name: Key
    payload: JsonObject | None = None


Action: TypeAlias = Annotated[
    CreditAction
    | DebitAction
    | HoldAction
    | ReleaseAction
    | ForfeitAction
    | VoidHoldAction
    | CounterAction
    | TagAction
    | UntagAction
    | SetAttributeAction
    | SetTierAction
    | ScheduleEventAction
    | BroadcastAction,
    Field(discriminator="type"),
]
"""An action of a rule, told apart by `type` (§12.1)."""

ACTION_MODELS: dict[str, type[ActionBase]] = {
    "CREDIT": CreditAction,
    "DEBIT": DebitAction,
    "HOLD": HoldAction,
    "RELEASE": ReleaseAction,
    "FORFEIT": ForfeitAction,
    "VOID_HOLD": VoidHoldAction,
    "COUNTER": CounterAction,
    "TAG": TagAction,
    "UNTAG": UntagAction,
    "SET_ATTRIBUTE": SetAttributeAction,
    "SET_TIER": SetTierAction,
    "SCHEDULE_EVENT": ScheduleEventAction,
    "BROADCAST": BroadcastAction,
}
"""The model of each action type, in the order of §12.1."""


class Budget(Definition):
    """A cap on what a rule issues of one asset per period (§10.4); without `schedule_type` for the rule's lifetime."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {
        "id",
        "rule_id",
        "consumed",
        "remaining",
        "next_reset_at",
        "last_reset_at",
        "asset_symbol",
    }

    asset_id: Key
    limit: Amount
    schedule_type: Literal["CRON", "INTERVAL"] | None = None
    cron_expression: Cron | None = None
    interval: Interval | None = None

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        needed = {"CRON": "cron_expression", "INTERVAL": "interval"}.get(self.schedule_type or "")
        if needed is not None and getattr(self, needed) is None:
            raise mistake(
                IssueCode.MISSING_FIELD,
                f"{needed} is missing for schedule_type {self.schedule_type}",
                f"add {needed}, or remove schedule_type for a lifetime budget",
            )
        return self


class Rule(Definition):
    """A condition with actions (§10.3). `active_from` and `active_to` are inclusive and refer to processing time."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {"version", "archived_at"}

    id: Id = ""
    program_id: Key = ""
    key: Key = ""
    name: Key
    description: Text | None = None
    condition: Cel
    actions: Annotated[tuple[Action, ...], Field(min_length=1)]
    order: Annotated[Whole, Field(ge=1, le=ORDER_MAX)] = 0
    stop_after_match: Flag = False
    active_from: Timestamp | None = None
    active_to: Timestamp | None = None
    budgets: tuple[Budget, ...] = ()
    status: Literal["ACTIVE", "SUSPENDED", "ARCHIVED"] = "ACTIVE"

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.active_from is not None and self.active_to is not None and self.active_from > self.active_to:
            raise mistake(IssueCode.INVALID_VALUE, "active_from is after active_to", "exchange the two times")
        return self


class Asset(Definition):
    """A kind of value with its scale (§7.4); `programs` are the programs it is linked to."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {"archived_at"}

    id: Id = ""
    symbol: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,16}$")]
    name: Key
    scale: Annotated[Whole, Field(ge=0, le=18)]
    inventory_mode: Literal["SIMPLE", "LOT"]
    issuance_policy: Literal["UNLIMITED", "PREFUNDED"]
    max_transaction_amount: Amount | None = None
    status: Literal["ACTIVE", "ARCHIVED"] = "ACTIVE"
    programs: Annotated[tuple[Key, ...], Field(min_length=1)]


class Program(Definition):
    """A loyalty program with its rules, tier types, rewards and automations, each in file order."""

    ignored_fields: ClassVar[frozenset[str]] = Definition.ignored_fields | {"archived_at"}

    id: Id = ""
    key: Key = ""
    name: Key
    description: Text | None = None
    status: Literal["ACTIVE", "SUSPENDED", "ARCHIVED"] = "ACTIVE"
    on_unknown_participant: Literal["CREATE", "REJECT"] = "CREATE"
    redemption_target_type: Literal["SYSTEM_REDEMPTION", "SYSTEM_BREAKAGE", "LEDGER_ENTITY"] = "SYSTEM_REDEMPTION"
    redemption_target_entity_id: Key | None = None
    group_field: Key | None = None
    event_schema: JsonObject | None = None
    rules: tuple[Rule, ...] = ()
    tiers: tuple[TierType, ...] = ()
    rewards: tuple[Reward, ...] = ()
    automations: tuple[Automation, ...] = ()

    @model_validator(mode="after")
    def _check_redemption_target(self) -> Self:
        wanted = self.redemption_target_type == "LEDGER_ENTITY"
        given = self.redemption_target_entity_id is not None
        if wanted and not given:
            raise mistake(
                IssueCode.MISSING_FIELD,
                "redemption_target_entity_id is missing for LEDGER_ENTITY",
                "name the participant, group or program that receives redemptions",
            )
        if given and not wanted:
            raise mistake(
                IssueCode.INVALID_COMBINATION,
                f"redemption_target_entity_id does not go with {self.redemption_target_type}",
                "remove it, or set redemption_target_type to LEDGER_ENTITY",
            )
        return self


class Organization(Definition):
    """The owner of the book (§2.1)."""

    id: Id = ""
    key: Key
    name: Key | None = None
    webhooks: tuple[Webhook, ...] = ()


class Source(Definition):
    """How a partner's own columns become records: SQL over the file, read as table `input`. Not part of the hash."""

    program: Key | None = None
    format: Literal["csv", "ndjson", "parquet", "arrow"] | None = None
    timezone: Zone | None = None
    select: Annotated[str, Field(min_length=1)]
    description: Text | None = None


def fits_scale(amount: Decimal, scale: int) -> bool:
    """Whether an amount in asset units is a whole number of minor units within 64 bits (§5.3)."""
    numerator, denominator = amount.as_integer_ratio()
    minor_per_unit: int = 10**scale
    minor, rest = divmod(numerator * minor_per_unit, denominator)
    return rest == 0 and minor <= AMOUNT_MINOR_MAX
