"""What the books need of automations (§17.1): triggers as calendars, filters and guards as closures, what they watch.

Everything here follows from the definitions alone, so it is the same for every run with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias, assert_never

from earnbook.ledger.schema import AutomationStatus, StateType
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.pipeline.templates import Template, event_data_of
from earnbook.rules.calendar import load_zone, next_multiple, parse_attribute_date, parse_minute_of_day
from earnbook.rules.cron import parse_cron
from earnbook.rules.lower_closure import Closure, lower_closure
from earnbook.rules.models import Program
from earnbook.rules.models_automations import (
    AttributeDateTrigger,
    Automation,
    CronSubscriptionTrigger,
    CronTrigger,
    ImmediateTrigger,
    IntervalTrigger,
    OneTimeTrigger,
    ParticipantStateTrigger,
    ThresholdTrigger,
    Trigger,
)
from earnbook.rules.parse import parse_expression
from earnbook.rules.plan_reads import children, reads_of
from earnbook.rules.syntax import Call, Has, Index, Literal, Name, Node, Select

SEEN = frozenset(
    {
        StateType.PARTICIPANT,
        StateType.ENROLLMENT,
        StateType.TAG,
        StateType.COUNTER,
        StateType.ATTRIBUTE,
        StateType.TIER,
    }
)
"""The types of changes after which the subscriptions of a participant are evaluated."""

NextFiring: TypeAlias = Callable[[int, int, str | None], "tuple[bool, int | None]"]
"""From (subscribed at, after, attribute's text): whether there is a date at all, and the next firing strictly after."""

_MEMBERS = {
    "participant.tags": StateType.TAG,
    "participant.attributes": StateType.ATTRIBUTE,
    "participant.tiers": StateType.TIER,
    "participant.status": StateType.PARTICIPANT,
    "participant.id": StateType.PARTICIPANT,
    "participant.external_id": StateType.PARTICIPANT,
}
"""What a filter may read whose value changes only with a change of that type."""

_COMPARISONS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    ">=": lambda value, threshold: value >= threshold,
    ">": lambda value, threshold: value > threshold,
    "==": lambda value, threshold: value == threshold,
    "<=": lambda value, threshold: value <= threshold,
    "<": lambda value, threshold: value < threshold,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdTerms:
    """The criterion of a THRESHOLD on a counter."""

    counter: str
    operator: str
    number: Decimal

    def holds(self, value: Fraction) -> bool:
        """Whether the criterion is true of a value."""
        return _COMPARISONS[self.operator](value, Fraction(self.number))


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomationTerms:
    """One automation: `number` in the book, `program` the slot of its program, `template` what its events say.

    `is_revaluated` says that its filter reads `now` or counters, so that midnight may change it; `watched` are the
    types of changes after which its subscriptions may differ.
    """

    number: int
    program: int
    template: int
    definition: Automation
    filter: Closure | None
    guard: Closure | None
    is_revaluated: bool
    watched: frozenset[StateType]

    @property
    def is_subscribed(self) -> bool:
        """Whether it fires per subscription."""
        return self.definition.trigger.type == "participant_state"

    @property
    def is_for_program(self) -> bool:
        """Whether a firing is one event, of the program."""
        return self.definition.scope == "program"

    @property
    def status(self) -> AutomationStatus:
        """As the definitions state it."""
        return AutomationStatus[self.definition.status.upper()]

    @property
    def threshold(self) -> ThresholdTerms | None:
        """The criterion, where it waits for one."""
        trigger = self.definition.trigger
        if not isinstance(trigger, ThresholdTrigger):
            return None
        config = trigger.schedule_config
        return ThresholdTerms(counter=config.counter, operator=config.operator, number=config.threshold)

    @property
    def attribute(self) -> str | None:
        """The attribute whose date it waits for."""
        trigger = self.definition.trigger
        return trigger.schedule_config.attribute if isinstance(trigger, AttributeDateTrigger) else None

    def next_tick(self, after: int) -> int | None:
        """The next tick of a cron trigger, strictly after a time; None for every other trigger."""
        trigger = self.definition.trigger
        if not isinstance(trigger, CronTrigger):
            return None
        return parse_cron(trigger.cron_expression).next_tick(after, load_zone(trigger.timezone))

    def first_firing(self, at: int, *, was_live: bool) -> int | None:
        """When it fires first once it becomes live at a time; `was_live`: not for the first time."""
        match self.definition.trigger:
            case CronTrigger():
                return self.next_tick(at)
            case OneTimeTrigger(trigger_at=trigger_at):
                return None if was_live and trigger_at <= at else max(trigger_at, at)
            case ImmediateTrigger():
                return None if was_live else at
            case _:
                return None

    def next_firing(self, subscribed_at: int, after: int, text: str | None) -> tuple[bool, int | None]:
        """The next firing of a subscription strictly after a time, and whether its date can be read at all."""
        trigger = self.definition.trigger
        assert not isinstance(trigger, CronTrigger | OneTimeTrigger | ImmediateTrigger)
        return _next_firing(trigger, subscribed_at, after, text)


def _next_firing(
    trigger: ParticipantStateTrigger, subscribed_at: int, after: int, text: str | None
) -> tuple[bool, int | None]:
    zone = load_zone(trigger.timezone)
    match trigger:
        case AttributeDateTrigger(schedule_config=config):
            date = parse_attribute_date(text)
            if date is None:
                return False, None
            minute = parse_minute_of_day(config.time)
            return True, date.next_after(after, offset_days=config.offset_days, minute_of_day=minute, zone=zone)
        case IntervalTrigger(schedule_config=config):
            return True, next_multiple(subscribed_at, config.every, after)
        case CronSubscriptionTrigger(schedule_config=config):
            return True, parse_cron(config.cron_expression).next_tick(after, zone)
        case ThresholdTrigger():
            return True, None
        case _:
            assert_never(trigger)


def automation_terms(
    programs: Sequence[Program], registry: Registry, *, templates: int
) -> tuple[tuple[AutomationTerms, ...], tuple[Template, ...]]:
    """All automations by number and what their events say; `templates` are the templates before theirs."""
    found = sorted(_numbered(programs, registry), key=lambda item: item[0])
    terms = tuple(
        _terms_of(number, slot, automation, templates + place) for place, (number, slot, automation) in enumerate(found)
    )
    return terms, tuple(
        Template(
            automation=number,
            program=slot,
            event_data=event_data_of(automation.event_name, automation.payload),
        )
        for number, slot, automation in found
    )


def _numbered(programs: Sequence[Program], registry: Registry) -> Iterator[tuple[int, int, Automation]]:
    for slot, program in enumerate(programs):
        for automation in program.automations:
            number = registry.find_object(ObjectKind.AUTOMATION, automation.id)
            assert number is not None
            yield number, slot, automation


def _terms_of(number: int, slot: int, automation: Automation, template: int) -> AutomationTerms:
    root = None if automation.participant_filter is None else parse_expression(automation.participant_filter).root
    return AutomationTerms(
        number=number,
        program=slot,
        template=template,
        definition=automation,
        filter=_closure(automation.participant_filter),
        guard=_closure(automation.guard_condition),
        is_revaluated=root is not None and _reads_time(root),
        watched=_watched(automation.trigger, root) if automation.trigger.type == "participant_state" else frozenset(),
    )


def _closure(text: str | None) -> Closure | None:
    return None if text is None else lower_closure(parse_expression(text))


def _reads_time(node: Node) -> bool:
    """Whether a filter reads `now` or counters, whose windows may elapse: time alone may change its value."""
    match node:
        case Name(name="now") | Call(function="now") | Select(field="counters") | Has(field="counters"):
            return True
        case Index(index=Literal(value="counters")):
            return True
        case _:
            return any(_reads_time(part) for part in children(node))


def _watched(trigger: Trigger, filter_root: Node | None) -> frozenset[StateType]:
    """The types of changes that can change a subscription: all of them where the filter reads more than its holder."""
    watched = {StateType.PARTICIPANT, StateType.ENROLLMENT}
    if isinstance(trigger, AttributeDateTrigger):
        watched.add(StateType.ATTRIBUTE)
    if isinstance(trigger, ThresholdTrigger):
        watched.add(StateType.COUNTER)
    if filter_root is None:
        return frozenset(watched)
    reads = reads_of(filter_root)
    members = {".".join(name.split(".")[:2]) for name in reads.fields}
    if reads.now or reads.whole or _reads_time(filter_root) or not members <= _MEMBERS.keys():
        return SEEN
    return frozenset(watched | {_MEMBERS[name] for name in members})
