"""The physical tables of a book: what a batch writes, column by column.

`execute` produces one Arrow table per name in `BATCH_TABLES`; `commit` seals and inserts them; the views of the book
turn them into the logical rows of §18. Numbers are dense integers from 1 (§2.3), 0 stands for "none"; times are int64
microseconds since 1970; amounts are int64 minor units. Text, UUIDs and causes follow from these columns, so they are
not stored: time, program, rule, version and action index of an entry follow from its record and its `action`.

Account codes and enumerations: `earnbook.ledger.schema`. Of a movement, `debit` is the account that gives (negative
posting), `credit` the account that receives (positive posting).
"""

from __future__ import annotations

import pyarrow as pa

_I8, _I16, _I32, _I64, _U64, _TEXT = pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint64(), pa.string()


def _schema(**columns: pa.DataType | tuple[pa.DataType]) -> pa.Schema:
    """A schema; a column given as a one-tuple is nullable."""
    fields = []
    for name, kind in columns.items():
        nullable = isinstance(kind, tuple)
        fields.append(pa.field(name, kind[0] if nullable else kind, nullable=nullable))
    return pa.schema(fields)


BATCH_TABLES: dict[str, pa.Schema] = {
    "movements": _schema(
        entry_seq=_I64,
        log_seq=_I64,  # the record that caused it; 0: due work (see due_entries)
        entry_type=_I8,  # EntryType
        action=_I32,  # number in `actions`; 0 for operations and due work
        debit=_I64,
        credit=_I64,
        asset=_I32,
        amount=_I64,
        # The lot it creates or takes from, of a hold or release the lot that ends in the other bucket; 0: none.
        lot_seq=_I64,
    ),
    "due_entries": _schema(entry_seq=_I64, created_at=_I64, program=_I32, lot_seq=_I64),
    "lots": _schema(
        lot_seq=_I64,
        entry_seq=_I64,  # the creating entry
        holder=_I64,
        asset=_I32,
        program=_I32,
        wallet=_I32,  # the program whose wallet paid; 0: issuance
        amount=_I64,
        created_at=_I64,
        expires_at=(_I64,),
        place=_I32,  # its position among the lots that the entry creates: only transfers and reversals create several
    ),
    # What few lots have, one row for each that has any of it.
    "lot_details": _schema(
        lot_seq=_I64,
        root=_I64,  # lot_seq of the root lot; its own where it is not split off
        matures_at=(_I64,),  # null also where it lay in the past: the lot was available at once
        reference=(_TEXT,),
    ),
    # An entry has all of its moves here, or none: then they follow from its movements. Written down are those of holds,
    # releases, settles, transfers, reversals and redemptions into a holder, and the one move of a credit or maturity
    # that repays overdraft.
    "lot_moves": _schema(
        entry_seq=_I64,
        index=_I32,
        lot_seq=_I64,
        kind=_I8,
        status_before=_I8,  # LotStatus, 0: none
        remaining_before=_I64,
        status_after=_I8,
        remaining_after=_I64,
        hold_reference=(_TEXT,),  # the stamp after it
        repaid=_I64,
    ),
    "entry_references": _schema(entry_seq=_I64, reference=_TEXT),  # of entries whose lots do not carry it
    "events": _schema(
        log_seq=_I64,
        program=_I32,
        key_hash=_U64,  # of the idempotency key, `ledger.pool.hash_texts`
        idempotency_key=_TEXT,
        holder=_I64,  # resolved participant, 0: none
        recipient=_I64,  # resolved recipient, 0: none
        given=_I8,  # bits: 1 external_id, 2 participant_id, 4 recipient_external_id, 8 recipient_id
        given_participant=(_TEXT,),  # as given, only where it is not the holder's external_id
        given_recipient=(_TEXT,),
        event_timestamp=_I64,
        late=pa.bool_(),
        source=_I32,  # number in `sources`
        source_row=_I64,
        event_data=_TEXT,  # JSON as read, or made from typed columns
        processed_at=_I64,
        outcome=_I16,  # Outcome; 0 means COMPLETED
        action=_I32,  # the failing action, 0: none
        pattern=_I32,  # number in `evaluation_patterns`: what each rule did; 0: no rule was looked at
    ),
    # What generated events have beside their row of `events` (§17.5).
    "generated_events": _schema(
        log_seq=_I64,
        parent=_I64,  # log_seq of the event that made it, 0: none
        action=_I32,  # by this action
        automation=_I32,  # or by this automation, which has neither of the two; 0: none
        generation=_I8,
        under_broadcast=pa.bool_(),  # it descends from a broadcast without a delay of 60 s or more between
    ),
    # Attempts at events after the first, each by a `retry_event` (§10.2).
    "attempts": _schema(
        log_seq=_I64,  # the event
        attempt=_I32,  # from 2
        by_log_seq=_I64,  # the operation
        processed_at=_I64,
        holder=_I64,
        recipient=_I64,
        outcome=_I16,
        action=_I32,
        pattern=_I32,
        first_change_seq=_I64,  # the changes that it made: from here
        last_change_seq=_I64,  # to here; one less than the first where it made none
    ),
    "operations": _schema(
        log_seq=_I64,
        type=_I8,  # OperationType
        program=_I32,  # 0: organization
        key_hash=_U64,
        idempotency_key=_TEXT,
        effective_at=_I64,
        holder=_I64,  # resolved participant, 0: none
        fields=_TEXT,  # canonical JSON
        late=pa.bool_(),
        source=_I32,
        source_row=_I64,
        processed_at=_I64,
        outcome=_I16,  # Outcome; 0 and 1 mean COMPLETED
    ),
    # Redemptions and their reversals (§16), one row for each that was carried out. What was reversed of a redemption is
    # the sum of its reversals.
    "redemptions": _schema(
        log_seq=_I64,  # the operation
        holder=_I64,  # the participant
        program=_I32,
        asset=_I32,
        amount=_I64,
        reward=_I32,  # 0: none
        reward_version=_I32,  # of its definition, in force when it was redeemed
        quantity=(_I64,),  # of a UNIT_BASED reward
        unit_cost=(_I64,),  # of a reward
        # Where the value went: account 2 or 3, minus a program's number for its wallet, a holder's number * 4 + 1.
        target=_I64,
        entry_seq=_I64,
    ),
    "reversals": _schema(
        log_seq=_I64,  # the operation
        redemption=_I64,  # log_seq of the redemption's operation
        amount=_I64,
        quantity=(_I64,),  # of a UNIT_BASED reward
        entry_seq=_I64,
    ),
    "changes": _schema(
        change_seq=_I64,
        log_seq=_I64,  # the record that caused it; 0: due work (see due_changes)
        action=_I32,
        entity=_I64,  # holder number, or minus a program's number
        state_type=_I8,  # StateType
        # Number in `names`; of an ENROLLMENT the program's, of an ASSET_LINK the asset's, of a MEMBER the
        # participant's, of a TIER the tier type's, of a REWARD the reward's, of an AUTOMATION or a SUBSCRIPTION the
        # automation's; HolderField of a PARTICIPANT or GROUP, 0 for PROGRAM; of a SCHEDULED_EVENT 1 below a broadcast,
        # else 0.
        key=_I32,
        operation=_I8,  # ChangeOperation
        value_kind=_I8,  # Kind of the new value; ABSENT where it is gone or the operation says all
        # Low word; a Status where one changes; of a MEMBER Role << 8 | MemberStatus; of a SCHEDULED_EVENT its
        # event_timestamp; of a REWARD its redeemed_count; of an AUTOMATION the AutomationStatus before << 8 | that
        # after it; of a SUBSCRIPTION its SubscriptionStatus.
        value=_I64,
        value_scale=_I8,  # of a SCHEDULED_EVENT its generation; of a REWARD its RewardStatus
    ),
    # What few changes have, one row for each whose value is not all in `changes`.
    "change_details": _schema(
        change_seq=_I64,
        value_high=_I64,  # high word of the value; without a row it is the sign of the low word
        reset_at=(_I64,),  # of a counter with a window: its start and length
        reset_after=(_I64,),
        text=(_TEXT,),
    ),
    # Actions whose result no other row tells (§18.5): suppressed by a budget, or of an attempt that failed.
    "action_results": _schema(
        log_seq=_I64,
        attempt=_I32,
        action=_I32,
        result=_I8,  # ActionResult
        entity=_I64,  # the target: holder number, or minus a program's number; 0: not found
        amount=_I64,  # minor units; -1: not known
        value_kind=_I8,  # Kind of what a COUNTER or SET_ATTRIBUTE would have written
        value=_I64,
        value_high=_I64,
        value_scale=_I8,
        text=(_TEXT,),
    ),
    # The limit and the next reset of each budget in force, written by the batches that changed either.
    "budget_terms": _schema(batch=_I64, budget=_I32, limit_minor=_I64, next_reset_at=(_I64,)),
    # Automations and subscriptions as a batch left those that it touched (§17), beside what changes tell of them.
    "automation_terms": _schema(
        batch=_I64,
        automation=_I32,
        status=_I8,  # AutomationStatus
        is_live=pa.bool_(),  # active, and its program too
        was_live=pa.bool_(),  # it was activated before
        is_over=pa.bool_(),  # a one_time that fired or was cancelled
        was_refreshed=pa.bool_(),  # all subscriptions were evaluated since it became live
        next_at=(_I64,),
        refresh_at=(_I64,),
    ),
    "subscription_terms": _schema(
        batch=_I64,
        automation=_I32,
        holder=_I64,
        subscribed_at=_I64,
        next_at=(_I64,),  # means nothing while the automation is not live and refreshed
        text=(_TEXT,),  # the date that it was planned by
        fired=_I64,  # events of a THRESHOLD
    ),
    # What changes of tiers to a level have, one row each; `value` of the change is the level's number in `names`.
    "tier_changes": _schema(
        change_seq=_I64,
        acquired_at=_I64,
        expires_at=(_I64,),
        own_expiry=pa.bool_(),  # the level is removed then, whatever the lifecycle says
        downgrade_at=(_I64,),  # of a level that was not renewed at a period end: when that is decided
        noted_level=_I32,  # what was reached at that period end, a number in `names`; 0: nothing, or there is no date
    ),
    # When and why changes with log_seq 0 happened, one row each: due work, as `due_entries` for entries.
    "due_changes": _schema(
        change_seq=_I64,
        changed_at=_I64,
        kind=_I8,  # DueSource (an ObjectKind): a rule, tier type or automation brought it about
        object=_I32,  # its number
    ),
    "holders": _schema(
        number=_I64,
        kind=_I8,  # EntityType PARTICIPANT or GROUP
        external_id=_TEXT,
        given_id=(_TEXT,),  # UUID text where it was given; null: UUIDv5 of §2.3
        log_seq=_I64,  # the record that created it
    ),
    "rejects": _schema(
        batch=_I64,
        n=_I64,
        source=_I32,
        source_row=_I64,
        reason=_I16,  # position in §3.5
        field=(_TEXT,),
        message=_TEXT,
        original_log_seq=(_I64,),
        raw=_TEXT,
    ),
    "balance_snapshots": _schema(batch=_I64, account=_I64, asset=_I32, amount=_I64),
    "system_snapshots": _schema(batch=_I64, account=_I64, asset=_I32, amount=pa.decimal128(38, 0)),
    # One row per pattern and rule with an evaluation row (§10.3), written when the pattern first occurs.
    "evaluation_patterns": _schema(
        pattern=_I32,
        program=_I32,
        rule=_I32,
        rule_version=_I32,
        rule_order=_I32,
        status=_I8,  # 1 SUCCESS 2 FAILED 3 SKIPPED 4 SKIPPED_ERROR 5 SKIPPED_TIMEOUT (A.2)
        reason=_I8,  # 0 none 1 OUTSIDE_TIME_WINDOW 2 BUDGET_EXCEEDED 3 STOPPED_BY_RULE
        stopped_by=_I32,  # rule number, 0: none
    ),
}
"""Append-only tables of one batch, in no particular order; every one may be empty."""

STATE_TABLES: dict[str, pa.Schema] = {
    "balances": _schema(account=_I64, asset=_I32, amount=_I64, last_entry_seq=_I64),
    "system_balances": _schema(account=_I64, asset=_I32, amount=pa.decimal128(38, 0), last_entry_seq=_I64),
    "overdrafts": _schema(holder=_I64, asset=_I32, amount=_I64),
    "counters": _schema(entity=_I64, key=_I32, low=_I64, high=_I64, scale=_I8, reset_at=(_I64,), reset_after=(_I64,)),
    "tags": _schema(entity=_I64, key=_I32),
    "attributes": _schema(entity=_I64, key=_I32, kind=_I8, value=_I64, scale=_I8, text=(_TEXT,)),
    "enrollments": _schema(holder=_I64, program=_I32, status=_I8),
    # Levels are numbers in `names`; what else there is of them is as in `tier_changes`, but that events move expires_at
    # of levels that are kept by activity (§14.4).
    "tiers": _schema(
        holder=_I64,
        tier=_I32,
        level=_I32,
        acquired_at=_I64,
        expires_at=(_I64,),
        own_expiry=pa.bool_(),
        downgrade_at=(_I64,),
        noted_level=_I32,
    ),
    "open_lots": _schema(
        lot_seq=_I64,
        holder=_I64,
        asset=_I32,
        status=_I8,  # LotStatus DEFERRED, AVAILABLE or HELD
        remaining=_I64,
        expires_at=(_I64,),  # here as well as in `lots`: what is due is found without them
        matures_at=(_I64,),
        hold_reference=(_TEXT,),  # of HELD lots
        provisional=pa.bool_(),  # credited directly to HELD, and still there
    ),
    "budgets": _schema(budget=_I32, consumed=_I64),  # those that ever began, by number
    "holder_statuses": _schema(holder=_I64, status=_I8),  # participants and groups that are not ACTIVE
    "profiles": _schema(holder=_I64, field=_I8, text=_TEXT),  # HolderField
    "members": _schema(holder=_I64, member=_I64, role=_I8, status=_I8),  # holder is the group
    # Units redeemed of UNIT_BASED rewards less those reversed (§16.2): of each holder, and of all (holder 0).
    "reward_counts": _schema(reward=_I32, holder=_I64, redeemed_count=_I64),
    "program_statuses": _schema(program=_I32, status=_I8),  # in force: by operation, or as the files last stated
    "asset_links": _schema(program=_I32, asset=_I32),
    "automations": _schema(
        automation=_I32,
        status=_I8,
        is_live=pa.bool_(),
        was_live=pa.bool_(),
        is_over=pa.bool_(),
        was_refreshed=pa.bool_(),
        next_at=(_I64,),
        refresh_at=(_I64,),
    ),
    "subscriptions": _schema(
        automation=_I32,
        holder=_I64,
        status=_I8,  # SubscriptionStatus
        subscribed_at=_I64,
        next_at=(_I64,),
        text=(_TEXT,),
        fired=_I64,
    ),
    # Events that SCHEDULE_EVENT has made and that are not due yet (§17.5); those of broadcasts never wait for a batch.
    "schedule": _schema(
        holder=_I64,
        due_at=_I64,  # its event_timestamp
        parent=_I64,  # log_seq of the event that made it
        position=_I32,  # among those that this event made, from 0
        action=_I32,
        generation=_I8,
        under_broadcast=pa.bool_(),
    ),
}
"""The checkpoint of state (a fold of the batch tables), current up to the batch in `meta.state_batch`."""
