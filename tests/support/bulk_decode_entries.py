"""The journal from physical rows: entries, their postings, and what they have from their cause; see `bulk_decode`."""

from __future__ import annotations

import json
from collections import defaultdict

from earnbook.ledger.schema import EntryType, OperationType
from earnbook.pipeline.registry import ActionEntry
from tests.support.bulk_decode import Row, Rows
from tests.support.logical import Entry, Posting


def entries_of(rows: Rows) -> tuple[Entry, ...]:
    """The journal with its postings (§18.1, §18.2)."""
    movements: dict[int, list[Row]] = defaultdict(list)
    for row in rows["movements"]:
        movements[row["entry_seq"]].append(row)
    due = {row["entry_seq"]: row for row in rows["due_entries"]}
    references = _references(rows)
    return tuple(
        Entry(
            seq=seq,
            asset=rows.asset(own[0]["asset"]),
            action_type=EntryType(own[0]["entry_type"]).name,
            postings=_postings(rows, own),
            **(_caused(rows, own, references.get(seq)) if own[0]["log_seq"] else _of_due_work(rows, own, due[seq])),
        )
        for seq, own in sorted(movements.items())
    )


def _references(rows: Rows) -> dict[int, str]:
    """The reference of each entry that has one: its own, or that of the lot it created."""
    created_by = {row["lot_seq"]: row["entry_seq"] for row in rows["lots"]}
    found = {
        created_by[row["lot_seq"]]: row["reference"]
        for row in rows["lot_details"]
        if row["reference"] is not None and row["root"] == row["lot_seq"]
    }
    return found | {row["entry_seq"]: row["reference"] for row in rows["entry_references"]}


def _caused(rows: Rows, own: list[Row], reference: str | None) -> Row:
    """What an entry has from the record that caused it."""
    log_seq, entry_type = own[0]["log_seq"], own[0]["entry_type"]
    action = rows.action(own[0]["action"])
    event = rows.events.get(log_seq)
    record = rows.operations[log_seq] if event is None else event
    attempts, redeemed = rows.attempts[log_seq], rows.redemption(log_seq)
    program = record["program"] if redeemed is None else redeemed["program"]
    counted = [row["amount"] for row in own if entry_type != EntryType.SETTLE or row["credit"] > 3]
    is_expiration = entry_type == EntryType.EXPIRATION
    return {
        "created_at": (attempts[-1] if attempts else record)["processed_at"],
        "program": rows.program(program) if program else None,
        "amount": sum(counted) if counted else None,
        "cause": "OPERATION" if event is None else "EVENT",
        "cause_number": log_seq,
        "rule": None if action is None else rows.rule(action.rule).key,
        "rule_version": None if action is None else action.rule_version,
        "action_index": None if action is None else action.action_index,
        "reference_id": reference,
        "description": None if is_expiration else _description(rows, log_seq, action),
        "redemption": None if is_expiration or redeemed is None else redeemed["log_seq"],
    }


def _description(rows: Rows, log_seq: int, action: ActionEntry | None) -> str | None:
    """What an entry says of itself: as its action or operation has it, else what a reward makes of it (§16.2)."""
    if action is not None and action.description is not None:
        return action.description
    operation = rows.operations.get(log_seq)
    if operation is None:
        return None
    is_reversal = operation["type"] == OperationType.REVERSE_REDEMPTION
    said: str | None = json.loads(operation["fields"]).get("reason" if is_reversal else "description")
    redeemed = rows.redemptions.get(log_seq)
    if said is None and redeemed is not None and redeemed["reward"]:
        return f"Redeemed: {rows.rewards[redeemed['reward'] - 1][1].name}"
    return said


def _of_due_work(rows: Rows, own: list[Row], due: Row) -> Row:
    """What an entry has from the lot that fell due."""
    (movement,) = own
    return {
        "created_at": due["created_at"],
        "program": rows.program(due["program"]),
        "amount": movement["amount"],
        "cause": "DUE",
        "cause_number": due["lot_seq"],
        **dict.fromkeys(("rule", "rule_version", "action_index", "reference_id", "description")),
    }


def _postings(rows: Rows, own: list[Row]) -> tuple[Posting, ...]:
    """The legs of an entry, those that give first (§9.2).

    One for each account whose sum is not zero; every recipient of a transfer has its own (§16.4).
    """
    is_transfer = own[0]["entry_type"] == EntryType.TRANSFER
    sums: dict[tuple[int, int], int] = {}
    for leg, row in enumerate(own):
        debit, credit = (row["debit"], 0), (row["credit"], leg + 1 if is_transfer else 0)
        sums[debit] = sums.get(debit, 0) - row["amount"]
        sums[credit] = sums.get(credit, 0) + row["amount"]
    legs = sorted((amount > 0, leg, account, amount) for leg, ((account, _), amount) in enumerate(sums.items()))
    return tuple(
        Posting(account=rows.account(account, own[0]["asset"]), amount=amount)
        for _, _, account, amount in legs
        if amount
    )
