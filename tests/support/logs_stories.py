"""Short stories in random logs: a few records about one person in the order that makes a feature work.

Rows drawn one by one seldom hold, release and settle the same reference, or retry what can succeed by then.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.features import GROUPS, Feature, Features
from tests.support.logs_draw import Draw, quoted
from tests.support.logs_money import HELD_REDEMPTION, MONEY_STORIES, REDEMPTION_STORIES, money_story
from tests.support.oracle_times import format_time, parse_time

HOUR = 3_600_000_000
STARTS = tuple(f"2026-01-{day:02d}T09:00:00Z" for day in range(1, 17))

STORIES: Mapping[Feature, Sequence[tuple[str, ...]]] = {
    Feature.HOLDS: (
        ("visit", "hold", "release"),
        ("visit", "visit", "hold", "hold", "forfeit", "release"),
        ("visit", "hold", "visit", "release", "release"),
        ("authorise", "settle", "settle"),
        ("authorise", "authorise", "settle"),
        ("authorise", "visit", "hold", "void", "release"),
        ("authorise", "refund", "release"),
    ),
    Feature.RETRY: (("hold", "visit", "visit", "retry 0"), ("refund", "purchase", "visit", "retry 0", "retry 0")),
    Feature.MEMBERS: (("visit", "SUSPENDED", "visit", "hold", "ACTIVE", "visit"),),
    Feature.TIERS: (("stay", "stay", "upgrade", "stay"),),
    Feature.BUDGETS: (("purchase", "purchase", "purchase", "purchase"),),
}
RETRIED_LATER = ("visit", "SUSPENDED", "visit", "ACTIVE", "retry 2")
"""For when both RETRY and MEMBERS may be used."""


def random_story(chance: random.Random, definitions: Mapping[str, Any], features: Features, number: int) -> list[str]:
    """The rows of one story, some hours apart; none where no feature has any."""
    about_money = _money_stories(features)
    if about_money and chance.random() < 0.6:
        program = chance.choice(definitions["programs"])
        draw = Draw(chance=chance, definitions=definitions, program=program, number=number)
        return money_story(draw, chance.choice(about_money))
    choices = [steps for feature, stories in STORIES.items() if feature in features for steps in stories]
    if {Feature.RETRY, Feature.MEMBERS} <= features:
        choices += [RETRIED_LATER] * 2
    if not choices:
        return []
    program = chance.choice(definitions["programs"])["key"]
    person = {"external_id": quoted(chance.choice(("alice", "bob", "Zoë")))}
    data = {
        "ref": quoted(chance.choice(("R-1", "R-1", "R-2"))),
        "friend": quoted(chance.choice(("alice", "bob"))),
        "group": quoted(chance.choice(GROUPS)),
        "flag": "true",
        "name": '"Anna"',
    }
    at, rows = parse_time(chance.choice(STARTS)), []
    for place, step in enumerate(chance.choice(choices)):
        key = quoted(f"s{number}-{place}")
        time = quoted(format_time(at))
        if step.startswith("retry"):
            retried = quoted(f"s{number}-{step.removeprefix('retry ')}")
            fields = {"type": '"retry_event"', "program_id": quoted(program), "event_key": retried}
        elif step.isupper():
            fields = {"type": '"set_participant_status"', "status": quoted(step), **person}
        else:
            amount = chance.choice(("5", "10", "8", "50"))
            event_data = {"type": quoted(step), "amount": amount, **data}
            fields = {"program_id": quoted(program), **person, "event_data": _object(event_data)}
        name = "effective_at" if "type" in fields else "event_timestamp"
        rows.append(_object({"idempotency_key": key, name: time, **fields}))
        at += HOUR * chance.choice((1, 4, 30, 60))
    return rows


def _money_stories(features: Features) -> list[tuple[str, ...]]:
    stories: list[tuple[str, ...]] = []
    if Feature.MONEY in features:
        stories += MONEY_STORIES
    if Feature.REWARDS in features:
        stories += REDEMPTION_STORIES
    if {Feature.MONEY, Feature.REWARDS} <= features:
        stories += [HELD_REDEMPTION] * 3
    return stories


def _object(members: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quoted(name)}: {text}" for name, text in members.items()) + "}"
