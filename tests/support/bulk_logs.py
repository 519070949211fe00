"""Pairs of a definitions document and a small log, each from its seeds: what `tests.differential.bulk` compares.

The document draws a few of all features, every third one of those about money, every tenth of those about levels. The
log is one run of some ten records: events and operations, retries, repeats, conflicts and damaged rows, under the clock
of its events or a fixed one, sometimes with an `advance` after it. Where it may be about money it tells stories of it:
rows drawn one by one seldom redeem what somebody has, and reverse that.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.support.features import ABOUT_LEVELS, ABOUT_MONEY, EVERYTHING, TIME, Feature, Features, drawn_features
from tests.support.logical import Run
from tests.support.logs import random_log
from tests.support.logs_stories import random_story
from tests.support.logs_time import AFTER_THE_YEAR, spread
from tests.support.programs import random_definitions

SIZES = (3, 5, 7, 9, 12)
"""Rows of a log, before stories and first members add theirs."""
STORIES = (0, 1, 1, 2)
"""Stories behind the rows of a log that may be about money."""
_FIRST_STORY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkDocument:
    """The definitions of a seed, and what its logs may use."""

    seed: int
    definitions: dict[str, Any]
    features: Features

    def log(self, log_seed: int) -> Run:
        """The log of a seed over these definitions."""
        chance = random.Random(f"small log {self.seed} {log_seed}")
        lines: tuple[str, ...] = ()
        while not lines:
            # A log of nothing but stories is empty where the features have none to tell.
            lines = tuple(random_log(chance, self.definitions, chance.choice(SIZES), self.features))
        if self.features & {Feature.MONEY, Feature.REWARDS}:
            for number in range(chance.choice(STORIES)):
                lines += tuple(random_story(chance, self.definitions, self.features, _FIRST_STORY + number))
        is_event_clock = chance.random() < 0.8
        fixed, ends = ("2026-01-04T00:00:00Z", "2026-02-01T00:00:00Z"), ("2026-03-01T00:00:00Z",)
        if self.features & TIME:
            lines = tuple(spread(line) for line in lines)
            fixed, ends = ("2026-12-20T00:00:00Z", "2027-01-15T00:00:00Z"), AFTER_THE_YEAR
        return Run(
            lines=lines,
            clock="event" if is_event_clock else chance.choice(fixed),
            order="input" if chance.random() < 0.2 else "time",
            advance_to=chance.choice(ends) if chance.random() < (0.6 if self.features & TIME else 0.2) else None,
        )


def bulk_document(seed: int) -> BulkDocument:
    """The document of a seed."""
    features = ABOUT_LEVELS if seed % 10 == 7 else ABOUT_MONEY if seed % 3 == 0 else EVERYTHING
    return BulkDocument(
        seed=seed, definitions=random_definitions(seed, features), features=drawn_features(seed, features)
    )
