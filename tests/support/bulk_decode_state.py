"""State, which is the checkpoint after the last batch, and the counts of a log; see `bulk_decode`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from earnbook.ledger.schema import EntityType, HolderField, MemberStatus, Role, Status
from earnbook.pipeline.budgets import ENDED
from tests.support.bulk_decode import Rows
from tests.support.bulk_engine import LogResult
from tests.support.bulk_values import cell_text, plain_number, wide_integer
from tests.support.logical import Budget, Counter, Counts, Group, Member, Participant, Scheduled, Tier


def state_of(rows: Rows) -> dict[str, Any]:
    """The parts of a logical book that are state, by name."""
    return {
        **_holders(rows),
        **_programs(rows),
        **_cells(rows),
        "enrollments": {
            (rows.participant(row["holder"]), rows.program(row["program"])): Status(row["status"]).name
            for row in rows.state("enrollments")
        },
        "balances": {
            rows.account(row["account"], row["asset"]): int(row["amount"])
            for row in (*rows.state("balances"), *rows.state("system_balances"))
            if row["amount"]
        },
        "overdrafts": {
            (*rows.entity(row["holder"]), rows.asset(row["asset"])): row["amount"]
            for row in rows.state("overdrafts")
            if row["amount"]
        },
        "budgets": dict(_budgets(rows)),
        "tiers": dict(_tiers(rows)),
        "schedule": dict(_schedule(rows)),
    }


def _holders(rows: Rows) -> dict[str, Any]:
    statuses = {row["holder"]: Status(row["status"]).name for row in rows.state("holder_statuses")}
    texts: dict[int, dict[str, str]] = defaultdict(dict)
    for row in rows.state("profiles"):
        texts[row["holder"]][HolderField(row["field"]).name.lower()] = row["text"]
    participants, groups = {}, {}
    for number, row in rows.holders.items():
        status = statuses.get(number, "ACTIVE")
        if row["kind"] == EntityType.PARTICIPANT:
            participants[row["external_id"]] = Participant(number=number, status=status, profile=dict(texts[number]))
        else:
            groups[row["external_id"]] = Group(number=number, name=texts[number]["name"], status=status)
    members = {
        (rows.entity(row["holder"])[1], rows.participant(row["member"])): Member(
            role=Role(row["role"]).name, status=MemberStatus(row["status"]).name
        )
        for row in rows.state("members")
    }
    return {"participants": participants, "groups": groups, "members": members}


def _programs(rows: Rows) -> dict[str, Any]:
    if not rows.result.is_loaded:
        return {"programs": {}, "asset_links": frozenset()}
    return {
        "programs": {
            rows.program(row["program"]): Status(row["status"]).name for row in rows.state("program_statuses")
        },
        "asset_links": frozenset(
            (rows.program(row["program"]), rows.asset(row["asset"])) for row in rows.state("asset_links")
        ),
    }


def _cells(rows: Rows) -> dict[str, Any]:
    """Tags, counters and attributes."""
    counters = {
        (*rows.entity(row["entity"]), rows.names[row["key"] - 1][1]): Counter(
            value=plain_number(wide_integer(row["low"], row["high"]), row["scale"]),
            last_reset_at=row["reset_at"],
            reset_after=row["reset_after"],
        )
        for row in rows.state("counters")
    }
    attributes = {
        (*rows.entity(row["entity"]), rows.names[row["key"] - 1][1]): cell_text(
            row["kind"], row["value"], row["scale"], row["text"]
        )
        for row in rows.state("attributes")
    }
    tags = frozenset((*rows.entity(row["entity"]), rows.names[row["key"] - 1][1]) for row in rows.state("tags"))
    return {"counters": counters, "attributes": attributes, "tags": tags}


def _budgets(rows: Rows) -> Iterator[tuple[tuple[str, str, str], Budget]]:
    consumed = {row["budget"]: row["consumed"] for row in rows.state("budgets")}
    terms = {row["budget"]: row for row in sorted(rows["budget_terms"], key=lambda row: row["batch"])}
    for number, budget in enumerate(rows.budgets, start=1):
        if number > rows.result.budgets_before and budget.schedule != ENDED:
            name = (rows.program(budget.program), rows.rule(budget.rule).key, rows.asset(budget.asset))
            yield name, Budget(consumed=consumed[number], next_reset_at=terms[number]["next_reset_at"])


def _tiers(rows: Rows) -> Iterator[tuple[tuple[str | None, str, str], Tier]]:
    for row in rows.state("tiers"):
        tier = rows.tiers[row["tier"] - 1]
        name = (rows.participant(row["holder"]), rows.program(tier.program), tier.key)
        yield name, rows.tier_row(row["level"], row)


def _schedule(rows: Rows) -> Iterator[tuple[str, Scheduled]]:
    for row in rows.state("schedule"):
        action, participant = rows.action(row["action"]), rows.participant(row["holder"])
        assert action is not None
        assert participant is not None
        yield (
            rows.scheduled_key(row["parent"], action),
            Scheduled(
                program=rows.program(rows.events[row["parent"]]["program"]),
                participant=participant,
                due_at=row["due_at"],
                parent=row["parent"],
                generation=row["generation"],
            ),
        )


def counts_of(result: LogResult) -> Counts:
    """The counting identities (§3.6), over all batches."""
    batches = result.batches
    return Counts(
        rows_read=result.rows_read,
        events=sum(batch.events for batch in batches),
        operations=sum(batch.operations for batch in batches),
        duplicates=result.duplicates,
        rejected=len(result.rejects),
        generated=sum(batch.generated for batch in batches),
        completed=sum(batch.completed for batch in batches),
        failed=sum(sum(batch.failed.values()) for batch in batches),
        late=sum(batch.late for batch in batches),
    )
