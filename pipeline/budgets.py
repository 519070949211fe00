"""Budgets of a run: which continue, which begin, and when each is reset next (§6.3, §10.4).

A budget is a rule's cap on one asset under one schedule. It gets a number when it begins, with the load that first has
it; while asset and schedule stay the same it goes on, whatever the limit. Cron expressions are read here; the kernel
asks for one tick at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from earnbook.ledger.terms import BudgetTerms
from earnbook.pipeline.registry import BudgetEntry, Registry
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.rules.calendar import next_multiple
from earnbook.rules.cron import next_cron_tick
from earnbook.rules.definitions import Definitions
from earnbook.rules.models import Budget
from earnbook.rules.times import format_duration, parse_duration

CRON, INTERVAL = "CRON", "INTERVAL"
ENDED = "-"
"""The schedule of a beginning that only ends the budget before it: the rule caps the asset no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPlan:
    """A budget of the definitions in force; `number` is 0 for one that begins with this run's load.

    `rule`, `program` and `asset` are object numbers, `limit` minor units.
    """

    number: int
    rule: int
    program: int
    asset: int
    schedule: str
    limit: int

    def entry(self, *, started_at: int, started_entry: int) -> BudgetEntry:
        """What the book notes of its beginning."""
        return BudgetEntry(
            program=self.program,
            rule=self.rule,
            asset=self.asset,
            schedule=self.schedule,
            started_at=started_at,
            started_entry=started_entry,
        )

    def terms(self, *, origin: int, clock: int | None) -> BudgetTerms:
        """What the kernel needs; after `clock` the next reset is due, None while it has not begun."""
        kind, _, length = self.schedule.partition(" ")
        next_at = None if clock is None else next_reset(self.schedule, origin, clock)
        return BudgetTerms(
            number=self.number,
            rule=self.rule,
            asset=self.asset,
            program=self.program - 1,
            limit=self.limit,
            interval=parse_duration(length) if kind == INTERVAL else 0,
            origin=origin,
            next_reset_at=next_at,
        )


def schedule_text(budget: Budget) -> str:
    """A budget's schedule as text: `CRON 0 0 1 * *`, `INTERVAL 24h`, empty for a lifetime budget."""
    if budget.schedule_type == CRON:
        return f"{CRON} {budget.cron_expression}"
    return f"{INTERVAL} {format_duration(budget.interval or 0)}" if budget.schedule_type == INTERVAL else ""


def next_reset(schedule: str, origin: int, after: int) -> int | None:
    """The first boundary of a schedule after a time (microseconds); None for a lifetime budget and beyond year 9999."""
    kind, _, rest = schedule.partition(" ")
    if kind == CRON:
        return next_cron_tick(rest, after)
    return next_multiple(origin, parse_duration(rest), after) if kind == INTERVAL else None


def plan_budgets(definitions: Definitions, registry: Registry) -> tuple[BudgetPlan, ...]:
    """The budgets of all rules in force, in file order; after them the ends of those that a rule has no more."""
    assets = {entry.key: number for number, entry in enumerate(registry.objects(ObjectKind.ASSET), start=1)}
    scales = {asset.symbol: asset.scale for asset in definitions.assets}
    plans, ends = [], []
    for program, rule in definitions.rules():
        number = registry.find_object(ObjectKind.RULE, rule.id) or 0
        owner = registry.find_object(ObjectKind.PROGRAM, program.id) or 0
        for budget in rule.budgets:
            schedule, asset = schedule_text(budget), assets[budget.asset_id]
            found, known = registry.newest_budget(number, asset)
            plans.append(
                BudgetPlan(
                    number=found if known is not None and known.schedule == schedule else 0,
                    rule=number,
                    program=owner,
                    asset=asset,
                    schedule=schedule,
                    limit=int(budget.limit.scaleb(scales[budget.asset_id])),
                )
            )
        capped = {assets[budget.asset_id] for budget in rule.budgets}
        for asset in sorted(registry.budgeted_assets(number) - capped):
            _, known = registry.newest_budget(number, asset)
            if known is not None and known.schedule != ENDED:
                ends.append(BudgetPlan(number=0, rule=number, program=owner, asset=asset, schedule=ENDED, limit=0))
    return (*plans, *ends)
