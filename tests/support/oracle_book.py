"""The state of the oracle and its log as the logical book that engines are compared by."""

from __future__ import annotations

from tests.support.logical import Automation, Budget, Counter, LogicalBook, Scheduled, Subscription
from tests.support.oracle_definitions import Definitions
from tests.support.oracle_json import number_text
from tests.support.oracle_log import Log
from tests.support.oracle_redemptions import rewards_of
from tests.support.oracle_state import State


def read_state(state: State, log: Log, definitions: Definitions | None) -> LogicalBook:
    """The book as it stands; `definitions` is None before any are in force."""
    return LogicalBook(
        book_clock=state.book_clock,
        records=tuple(log.records),
        outcomes=tuple(sorted(log.outcomes, key=lambda row: (row.log_seq, row.attempt))),
        entries=tuple(state.entries),
        lots=tuple(lot for _, lot in sorted(state.lots.items())),
        lot_moves=tuple(state.lot_moves),
        evaluations=tuple(sorted(log.evaluations, key=lambda row: (row.log_seq, row.attempt, row.rule_order))),
        changes=tuple(state.changes),
        redemptions=tuple(state.redemptions.values()),
        reversals=tuple(state.reversals),
        rejects=frozenset(log.rejects),
        participants=dict(state.participants),
        enrollments=dict(state.enrollments),
        balances={account: amount for account, amount in state.balances.items() if amount},
        overdrafts={account: amount for account, amount in state.overdrafts.items() if amount},
        counters={
            name: Counter(
                value=number_text(stored.value),
                last_reset_at=stored.last_reset_at,
                reset_after=stored.reset_after,
            )
            for name, stored in state.counters.items()
        },
        tags=frozenset(state.tags),
        attributes=dict(state.attributes),
        groups=dict(state.groups),
        members=dict(state.members),
        tiers=dict(state.tiers),
        budgets={
            name: Budget(consumed=stored.consumed, next_reset_at=stored.next_reset_at)
            for name, stored in state.budgets.items()
        },
        automations={
            name: Automation(status=stored.status, next_at=stored.next_at) for name, stored in state.automations.items()
        },
        subscriptions={
            name: Subscription(status=stored.status, subscribed_at=stored.subscribed_at, next_at=stored.next_at)
            for name, stored in state.subscriptions.items()
        },
        schedule={
            waiting.idempotency_key: Scheduled(
                program=waiting.program,
                participant=waiting.participant,
                due_at=waiting.due_at,
                parent=waiting.parent,
                generation=waiting.generation,
            )
            for waiting in state.waiting
            if not waiting.is_broadcast and waiting.parent is not None and waiting.participant is not None
        },
        rewards={} if definitions is None else rewards_of(state, definitions),
        programs=dict(state.programs),
        asset_links=frozenset(state.asset_links),
        counts=log.counts(),
    )
