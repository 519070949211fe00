"""The properties of §19.4 as named queries: each yields (batch or NULL, example) for every violation.

Cheap or dear, all of them run in `verify`. They are written against the stored columns, not against the public views,
and know nothing of how the ledger came to them. A property that holds by construction of the stored form (an entry of
movements always sums to zero) is checked in what could still break it (an amount of zero, two assets in one entry).
"""

from __future__ import annotations

from dataclasses import dataclass

from earnbook.ledger.schedule import DELAY_NEW_GENERATION, GENERATION_MAX
from earnbook.ledger.schema import (
    ACCOUNT_BREAKAGE,
    ActionType,
    Bucket,
    ChangeOperation,
    EntryType,
    InventoryMode,
    IssuancePolicy,
    LotMoveKind,
    LotStatus,
    OperationType,
    Outcome,
    StateType,
)
from earnbook.pipeline.store_tables import ObjectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A named property: `property` is its label in §19.4, `query` yields (batch, example) of every violation."""

    name: str
    property: str
    table: str | None
    message: str
    query: str


def _batch_of(register: str, number: str) -> str:
    """The batch that holds a number, as a scalar subquery; NULL for a number beyond the last batch."""
    return f"(SELECT min(batch) FROM store.batches WHERE {register} >= {number})"


_ENTRY_BATCH = _batch_of("last_entry_seq", "entry_seq")
_LOG_BATCH = _batch_of("last_log_seq", "log_seq")
_LOT_BATCH = _batch_of("last_lot_seq", "lot_seq")
_CHANGE_BATCH = _batch_of("last_change_seq", "change_seq")
_HOLDER_BATCH = _batch_of("last_holder", "number")

_RECORDS = f"""(SELECT e.log_seq, e.program, coalesce(t.processed_at, e.processed_at) AS processed_at,
        coalesce(t.outcome, e.outcome) > {Outcome.OK} AS failed, 1 AS kind
    FROM store.events AS e LEFT JOIN (SELECT log_seq, arg_max(processed_at, attempt) AS processed_at,
        arg_max(outcome, attempt) AS outcome FROM store.attempts GROUP BY log_seq) AS t ON t.log_seq = e.log_seq
    UNION ALL SELECT log_seq, program, processed_at, outcome > {Outcome.NO_EFFECT}, 2 FROM store.operations)"""

_CLOCK = "(SELECT book_clock FROM store.batches ORDER BY batch DESC LIMIT 1)"


def _dense(name: str, table: str, rows: str, column: str, register: str) -> Check:
    """Numbers must be exactly those from the batch's first to its last."""
    return Check(
        name=f"dense_{name}",
        property="I9",
        table=table,
        message=f"{name} numbers are not dense from 1 to the last one of each batch",
        query=f"""WITH spans AS (SELECT batch, coalesce(lag({register}) OVER (ORDER BY batch), 0) AS before,
                {register} AS last FROM store.batches),
            found AS (SELECT s.batch, count(DISTINCT r.{column}) AS numbers, count(r.{column}) AS n
                FROM (SELECT {column} FROM {rows}) AS r
                ASOF JOIN (SELECT batch, before + 1 AS first FROM spans WHERE last > before) AS s
                    ON r.{column} >= s.first
                GROUP BY s.batch)
            SELECT s.batch, 'numbers ' || (s.before + 1) || ' to ' || s.last || ', but '
                || coalesce(f.numbers, 0) || ' of them in ' || coalesce(f.n, 0) || ' rows'
            FROM spans AS s LEFT JOIN found AS f USING (batch)
            WHERE coalesce(f.numbers, 0) <> s.last - s.before OR coalesce(f.n, 0) <> s.last - s.before
            UNION ALL SELECT NULL, 'number ' || {column} || ' is in no batch' FROM {rows} AS r
            WHERE {column} < 1 OR {column} > (SELECT coalesce(max({register}), 0) FROM store.batches)""",
    )


def _dense_objects(name: str, table: str, partition: str) -> Check:
    return Check(
        name=f"dense_{name}",
        property="I9",
        table=table,
        message=f"numbers in {table} are not dense from 1",
        query=f"""SELECT max(batch), 'last number ' || max(number) || ' of ' || count(*) || ' rows'
            FROM store.{table} GROUP BY {partition}
            HAVING max(number) <> count(*) OR count(DISTINCT number) <> count(*) OR min(number) <> 1""",
    )


_JOURNAL = (
    Check(
        name="entries_balance",
        property="I1",
        table="movements",
        message="an entry is not one movement of value of one asset between accounts",
        query=f"""WITH several AS MATERIALIZED (SELECT * FROM store.movements WHERE entry_seq IN (
                SELECT entry_seq FROM store.movements GROUP BY entry_seq HAVING count(*) > 1))
            SELECT {_ENTRY_BATCH},
                'entry ' || entry_seq || ' moves ' || amount || ' from ' || debit || ' to ' || credit
            FROM store.movements WHERE amount <= 0 OR debit = credit
            UNION ALL SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq || ' mixes assets, records, actions or types'
            FROM (SELECT entry_seq FROM several GROUP BY entry_seq HAVING min(asset) <> max(asset)
                OR min(log_seq) <> max(log_seq) OR min(action) <> max(action) OR min(entry_type) <> max(entry_type))
            UNION ALL SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq || ' has no posting on account ' || account
            FROM (SELECT entry_seq, account FROM (
                    SELECT entry_seq, debit AS account, -amount AS amount FROM several
                    UNION ALL SELECT entry_seq, credit, amount FROM several)
                GROUP BY entry_seq, account HAVING sum(amount) = 0)""",
    ),
    Check(
        name="accounts_exist",
        property="I1",
        table="movements",
        message="a movement names an account or asset that does not exist",
        query=f"""SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq || ', account ' || account || ', asset ' || asset
            FROM (SELECT entry_seq, debit AS account, asset FROM store.movements
                UNION ALL SELECT entry_seq, credit, asset FROM store.movements)
            WHERE account = 0 OR account > 3 AND (account < 5 OR account % 4 = 0)
                OR account > 3 AND account // 4 NOT IN (SELECT number FROM store.holders)
                OR account < 0 AND -account NOT IN (SELECT number FROM store.objects WHERE kind = {ObjectKind.PROGRAM})
                OR asset NOT IN (SELECT number FROM store.objects WHERE kind = {ObjectKind.ASSET})""",
    ),
    Check(
        name="value_is_conserved",
        property="I2",
        table="balances",
        message="the balances of an asset do not sum to zero",
        query="""SELECT NULL, 'asset ' || asset || ': ' || sum(amount) FROM (
                SELECT asset, CAST(amount AS HUGEINT) AS amount FROM store.current_balances
                UNION ALL SELECT asset, CAST(amount AS HUGEINT) FROM store.current_system_balances)
            GROUP BY asset HAVING sum(amount) <> 0""",
    ),
    Check(
        name="snapshots_are_the_fold",
        property="I21",
        table="balance_snapshots",
        message="a balance snapshot is not the balance after its batch, or is missing",
        query="""WITH changed AS (
                SELECT b.batch, p.account, p.asset, sum(p.amount) AS change FROM (
                    SELECT entry_seq, debit AS account, asset, -CAST(amount AS HUGEINT) AS amount FROM store.movements
                    UNION ALL SELECT entry_seq, credit, asset, CAST(amount AS HUGEINT) FROM store.movements) AS p
                ASOF JOIN store.entry_batches AS b ON p.entry_seq >= b.first_entry_seq GROUP BY ALL),
            folded AS (SELECT batch, account, asset,
                sum(change) OVER (PARTITION BY account, asset ORDER BY batch) AS amount FROM changed),
            stored AS (SELECT batch, account, asset, CAST(amount AS HUGEINT) AS amount FROM store.balance_snapshots
                UNION ALL SELECT batch, account, asset, CAST(amount AS HUGEINT) FROM store.system_snapshots)
            SELECT coalesce(f.batch, s.batch), 'account ' || coalesce(f.account, s.account) || ', asset '
                || coalesce(f.asset, s.asset) || ': stored ' || coalesce(CAST(s.amount AS VARCHAR), 'nothing')
                || ', folded ' || coalesce(CAST(f.amount AS VARCHAR), 'nothing')
            FROM folded AS f FULL JOIN stored AS s USING (batch, account, asset)
            WHERE f.amount IS DISTINCT FROM s.amount""",
    ),
)

_LOTS = (
    Check(
        name="lots_are_the_balances",
        property="I4",
        table="open_lots",
        message="the lots of a holder do not sum to the balance",
        query=f"""WITH held AS (
                SELECT holder, asset, CASE status WHEN {LotStatus.AVAILABLE} THEN 1 WHEN {LotStatus.HELD} THEN 2
                    ELSE 3 END AS bucket, sum(remaining) AS amount FROM store.current_open_lots GROUP BY ALL
                UNION ALL SELECT holder, asset, 1, -amount FROM store.current_overdrafts),
            lots AS (SELECT holder, asset, bucket, sum(amount) AS amount FROM held GROUP BY ALL),
            kept AS (SELECT account // 4 AS holder, asset, account % 4 AS bucket, amount FROM store.current_balances
                WHERE account > 3 AND asset IN (SELECT number FROM store.objects
                    WHERE kind = {ObjectKind.ASSET} AND inventory_mode = {InventoryMode.LOT}))
            SELECT NULL, 'holder ' || holder || ', asset ' || asset || ', bucket ' || bucket || ': lots '
                || coalesce(l.amount, 0) || ', balance ' || coalesce(k.amount, 0)
            FROM lots AS l FULL JOIN kept AS k USING (holder, asset, bucket)
            WHERE coalesce(l.amount, 0) <> coalesce(k.amount, 0)""",
    ),
    Check(
        name="overdraft_has_no_lots",
        property="I5",
        table="overdrafts",
        message="an overdraft is negative, or stands beside available lots",
        query=f"""SELECT NULL, 'holder ' || o.holder || ', asset ' || o.asset || ': ' || o.amount
            FROM store.current_overdrafts AS o WHERE o.amount < 0 OR (o.holder, o.asset) IN (
                SELECT (holder, asset) FROM store.current_open_lots WHERE status = {LotStatus.AVAILABLE})""",
    ),
    Check(
        name="no_negative_balance",
        property="I6",
        table="balances",
        message="a balance is negative that may not be, or that no DEBIT explains",
        query=f"""SELECT NULL, 'account ' || account || ', asset ' || asset || ': ' || amount FROM (
                SELECT account, asset, amount FROM store.current_balances
                WHERE amount < 0 AND (account < 0 OR account % 4 <> 1 OR (account, asset) NOT IN (
                    SELECT (debit, asset) FROM store.movements WHERE entry_type = {EntryType.DEBIT}))
                UNION ALL SELECT account, asset, amount FROM store.current_system_balances
                WHERE amount < 0 AND account <> 1)""",
    ),
    Check(
        name="lots_keep_their_bounds",
        property="I7",
        table="lots",
        message="a lot has more left than it had, or less than nothing",
        query=f"""SELECT {_LOT_BATCH}, 'lot ' || lot_seq || ': ' || remaining || ' of ' || amount
            FROM store.current_open_lots JOIN (SELECT lot_seq, amount FROM store.lots) USING (lot_seq)
            WHERE remaining <= 0 OR remaining > amount
            UNION ALL SELECT {_LOT_BATCH}, 'lot ' || lot_seq || ' falls below zero'
            FROM store.lot_steps WHERE remaining_after < 0""",
    ),
    Check(
        name="lots_are_their_entries",
        property="I7",
        table="lots",
        message="a lot is not what its creating entry credited",
        query=f"""SELECT {_batch_of("last_lot_seq", "l.lot_seq")}, 'lot ' || l.lot_seq || ' of entry ' || l.entry_seq
            FROM store.full_lots AS l LEFT JOIN store.movements AS m
                ON m.entry_seq = l.entry_seq AND m.lot_seq = l.lot_seq
            LEFT JOIN (SELECT entry_seq, credit, CAST(sum(amount) AS BIGINT) AS amount FROM store.movements
                WHERE entry_type = {EntryType.SETTLE} GROUP BY ALL) AS s
                ON s.entry_seq = m.entry_seq AND s.credit = m.credit
            WHERE m.entry_seq IS NULL OR coalesce(s.amount, m.amount) <> l.amount OR m.asset <> l.asset
                OR m.credit // 4 <> l.holder OR l.root > l.lot_seq
                OR l.root = l.lot_seq AND m.debit <> l.source AND m.debit <= 3
                OR l.root = l.lot_seq AND m.debit > 3 AND m.entry_type = {EntryType.CREDIT}
                OR l.root = l.lot_seq AND CASE WHEN l.matures_at IS NULL THEN m.credit % 4 = 3
                    ELSE m.credit % 4 <> 3 END""",
    ),
    Check(
        name="received_lots_are_fresh",
        property="I7",
        table="lots",
        message="a lot that was received has dates, a reference, or another source than a credit of the program",
        query=f"""SELECT {_batch_of("last_lot_seq", "l.lot_seq")}, 'lot ' || l.lot_seq
            FROM store.full_lots AS l JOIN store.movements AS m ON m.entry_seq = l.entry_seq AND m.lot_seq = l.lot_seq
            JOIN store.objects AS a ON a.kind = {ObjectKind.ASSET} AND a.number = l.asset
            LEFT JOIN {_RECORDS} AS r ON r.log_seq = m.log_seq
            WHERE m.entry_type IN ({EntryType.TRANSFER}, {EntryType.REDEMPTION})
                AND (l.program IS DISTINCT FROM r.program OR l.created_at IS DISTINCT FROM r.processed_at
                    OR l.wallet <> CASE a.issuance_policy WHEN {IssuancePolicy.PREFUNDED} THEN l.program ELSE 0 END
                    OR l.root <> l.lot_seq OR l.expires_at IS NOT NULL OR l.matures_at IS NOT NULL
                    OR l.reference IS NOT NULL)""",
    ),
    Check(
        name="parts_are_their_lots",
        property="I7",
        table="lots",
        message="a lot split off another differs from it in what it keeps, or was not split off by a hold or release",
        query=f"""SELECT {_batch_of("last_lot_seq", "l.lot_seq")}, 'lot ' || l.lot_seq || ' of root ' || l.root
            FROM store.full_lots AS l LEFT JOIN store.full_lots AS r ON r.lot_seq = l.root AND r.root = r.lot_seq
            LEFT JOIN store.movements AS m ON m.entry_seq = l.entry_seq AND m.lot_seq = l.lot_seq
            WHERE l.root <> l.lot_seq AND (r.lot_seq IS NULL OR m.entry_type NOT IN ({EntryType.HOLD},
                    {EntryType.RELEASE}, {EntryType.REDEMPTION_REVERSAL})
                OR (l.holder, l.asset, l.program, l.source, l.created_at, l.expires_at, l.matures_at, l.reference)
                    IS DISTINCT FROM
                    (r.holder, r.asset, r.program, r.source, r.created_at, r.expires_at, r.matures_at, r.reference))""",
    ),
    Check(
        name="lot_moves_follow",
        property="I7",
        table="lot_moves",
        message="a stored lot move is not what the movements of its lot lead to",
        query=f"""SELECT {_batch_of("last_entry_seq", "p.entry_seq")}, 'entry ' || p.entry_seq || ', lot ' || p.lot_seq
            FROM store.lot_moves AS p JOIN store.lot_steps AS s USING (entry_seq, lot_seq)
            LEFT JOIN (SELECT lot_seq, entry_seq AS made_by FROM store.lots) AS l USING (lot_seq)
            WHERE l.lot_seq IS NULL OR p.repaid < 0 OR p.remaining_before <> s.remaining_before
                OR p.remaining_after <> s.remaining_after
                OR (p.status_before = 0) <> (p.entry_seq = l.made_by)
                OR p.status_before <> coalesce(s.last.status, 0) AND p.kind <> {LotMoveKind.RESTORE}
                OR (p.status_after IN ({LotStatus.CONSUMED}, {LotStatus.EXPIRED})) <> (p.remaining_after = 0)
                OR p.hold_reference IS NOT NULL AND p.status_after <> {LotStatus.HELD}""",
    ),
    Check(
        name="postings_are_lot_moves",
        property="I8",
        table="lot_moves",
        message="what an entry moves in a bucket is not what its written lot moves and repayments say",
        query=f"""WITH said AS (
                SELECT p.entry_seq, l.holder, l.asset, unnest([
                    struct_pack(bucket := store.lot_bucket(p.status_after), amount := p.remaining_after),
                    struct_pack(bucket := store.lot_bucket(p.status_before), amount := -p.remaining_before),
                    struct_pack(bucket := {Bucket.AVAILABLE}, amount := p.repaid)], recursive := true)
                FROM store.lot_moves AS p JOIN store.lots AS l USING (lot_seq)),
            moves AS (SELECT entry_seq, holder, asset, bucket, sum(amount) AS amount FROM said
                WHERE bucket > 0 GROUP BY ALL HAVING sum(amount) <> 0),
            posted AS (SELECT entry_seq, account // 4 AS holder, asset, account % 4 AS bucket, sum(amount) AS amount
                FROM (SELECT entry_seq, debit AS account, asset, -amount AS amount FROM store.movements
                    UNION ALL SELECT entry_seq, credit, asset, amount FROM store.movements)
                WHERE account > 3 AND entry_seq IN (SELECT entry_seq FROM store.lot_moves) GROUP BY ALL)
            SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq || ', holder ' || holder || ', bucket ' || bucket || ': lots '
                || coalesce(m.amount, 0) || ', posted ' || coalesce(p.amount, 0)
            FROM moves AS m FULL JOIN posted AS p USING (entry_seq, holder, asset, bucket)
            WHERE m.amount IS DISTINCT FROM p.amount""",
    ),
    Check(
        name="lot_moves_are_written",
        property="I8",
        table="lot_moves",
        message="an entry moves lots in a way that does not follow from its movements, and no lot moves are stored",
        query=f"""SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq FROM (SELECT DISTINCT entry_seq FROM store.movements
                WHERE (entry_type IN ({EntryType.TRANSFER}, {EntryType.REDEMPTION_REVERSAL})
                        OR entry_type = {EntryType.REDEMPTION} AND credit > {ACCOUNT_BREAKAGE})
                    AND asset IN (SELECT number FROM store.objects WHERE kind = {ObjectKind.ASSET}
                        AND inventory_mode = {InventoryMode.LOT})
                    AND entry_seq NOT IN (SELECT entry_seq FROM store.lot_moves))""",
    ),
    Check(
        name="nothing_is_due",
        property="I16",
        table="open_lots",
        message="something was due at or before the book clock",
        query=f"""SELECT NULL, 'lot ' || lot_seq FROM store.current_open_lots
            WHERE status = {LotStatus.DEFERRED} AND matures_at <= {_CLOCK}
                OR status = {LotStatus.AVAILABLE} AND expires_at <= {_CLOCK}
            UNION ALL SELECT NULL, 'tier type ' || t.tier || ' of holder ' || t.holder FROM store.current_tiers AS t
            LEFT JOIN store.lifecycles AS l ON l.tier = t.tier AND l.next_batch IS NULL
            LEFT JOIN store.names AS n ON n.number = t.level
            LEFT JOIN store.level_list AS r ON r.tier = t.tier AND r.level = n.text
            LEFT JOIN store.level_list AS f ON f.tier = t.tier AND f.level = l.min_level
            WHERE CASE WHEN t.own_expiry THEN t.expires_at <= {_CLOCK}
                WHEN l.retention = 'PERIOD_BASED' THEN t.downgrade_at <= {_CLOCK}
                WHEN l.retention = 'ACTIVITY_REFRESH' AND r.rank > coalesce(f.rank, 0)
                THEN t.expires_at + l.grace <= {_CLOCK} END
            UNION ALL SELECT NULL, 'event scheduled by log_seq ' || parent FROM store.current_schedule
            WHERE due_at <= {_CLOCK}
            UNION ALL SELECT NULL, 'automation ' || automation FROM store.current_automations
            WHERE next_at <= {_CLOCK} OR refresh_at <= {_CLOCK}
            UNION ALL SELECT NULL, 'automation ' || automation || ' of holder ' || holder
            FROM store.current_subscriptions JOIN store.current_automations AS a USING (automation)
            WHERE a.is_live AND a.was_refreshed AND current_subscriptions.next_at <= {_CLOCK}""",
    ),
    Check(
        name="wallets_are_explained",
        property="I19",
        table="movements",
        message="a wallet moved otherwise than by fund, burn, credits and their returns, or is negative",
        query=f"""SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq FROM store.movements
            WHERE debit < 0 AND entry_type NOT IN ({EntryType.BURN}, {EntryType.CREDIT}, {EntryType.SETTLE},
                    {EntryType.REDEMPTION_REVERSAL})
                OR credit < 0 AND entry_type NOT IN ({EntryType.FUND}, {EntryType.DEBIT}, {EntryType.VOID_HOLD},
                    {EntryType.SETTLE}, {EntryType.REDEMPTION})
            UNION ALL SELECT NULL, 'wallet ' || account || ', asset ' || asset || ': ' || amount
            FROM store.current_balances WHERE account < 0 AND amount < 0""",
    ),
)

_BUDGETS = (
    Check(
        name="budgets_keep_their_limits",
        property="I14",
        table="budgets",
        message="a budget has consumed more than any limit it ever had",
        query="""SELECT NULL, 'budget ' || c.budget || ': ' || c.consumed || ' of ' || max(t.limit_minor)
            FROM store.current_budgets AS c JOIN store.budget_terms AS t USING (budget)
            GROUP BY c.budget, c.consumed HAVING c.consumed > max(t.limit_minor) OR c.consumed < 0""",
    ),
    Check(
        name="no_reset_is_due",
        property="I16",
        table="budget_terms",
        message="the reset of a budget was due at or before the book clock",
        query=f"""SELECT NULL, 'budget ' || budget FROM (
                SELECT budget, arg_max(struct_pack(next_reset_at), batch) AS last FROM store.budget_terms
                WHERE budget IN (SELECT max(number) FROM store.budget_starts GROUP BY rule, asset) GROUP BY budget)
            WHERE last.next_reset_at <= {_CLOCK}""",
    ),
)

_LOG = (
    _dense(
        "log_seq",
        "events",
        "(SELECT log_seq FROM store.events UNION ALL SELECT log_seq FROM store.operations)",
        "log_seq",
        "last_log_seq",
    ),
    _dense("entry_seq", "movements", "(SELECT DISTINCT entry_seq FROM store.movements)", "entry_seq", "last_entry_seq"),
    _dense("lot_seq", "lots", "store.lots", "lot_seq", "last_lot_seq"),
    _dense("change_seq", "changes", "store.changes", "change_seq", "last_change_seq"),
    _dense("holder", "holders", "store.holders", "number", "last_holder"),
    _dense_objects("objects", "objects", "kind"),
    _dense_objects("names", "names", "1 = 1"),
    _dense_objects("actions", "actions", "1 = 1"),
    _dense_objects("budgets", "budget_starts", "1 = 1"),
    Check(
        name="dense_batches",
        property="I9",
        table="batches",
        message="batch numbers are not dense from 1, or a clock or number goes back",
        query="""SELECT batch, 'batch ' || batch FROM (SELECT *, row_number() OVER w AS n,
                lag(book_clock) OVER w AS clock_before, lag(last_log_seq) OVER w AS log_before,
                lag(last_entry_seq) OVER w AS entry_before, lag(last_lot_seq) OVER w AS lot_before,
                lag(last_change_seq) OVER w AS change_before, lag(last_holder) OVER w AS holder_before
                FROM store.batches WINDOW w AS (ORDER BY batch))
            WHERE batch <> n OR book_clock < clock_before OR last_log_seq < log_before
                OR last_entry_seq < entry_before OR last_lot_seq < lot_before OR last_change_seq < change_before
                OR last_holder < holder_before""",
    ),
    Check(
        name="created_at_never_decreases",
        property="I9",
        table="movements",
        message="an entry is older than one before it, or than the book clock of its batch allows",
        query=f"""WITH created AS (
                SELECT m.entry_seq, coalesce(r.processed_at, d.created_at) AS created_at
                FROM (SELECT DISTINCT entry_seq, log_seq FROM store.movements) AS m
                LEFT JOIN {_RECORDS} AS r ON r.log_seq = m.log_seq
                LEFT JOIN store.due_entries AS d ON d.entry_seq = m.entry_seq AND m.log_seq = 0)
            SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq
            FROM (SELECT entry_seq, created_at, lag(created_at) OVER (ORDER BY entry_seq) AS before,
                (SELECT max(book_clock) FROM store.batches) AS clock FROM created)
            WHERE created_at < before OR created_at > clock""",
    ),
    Check(
        name="entry_ids_are_unique",
        property="I9",
        table="movements",
        message="two entries have the same cause and so the same id, or do not follow each other",
        query=f"""SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq FROM (
                SELECT max(entry_seq) AS entry_seq FROM (SELECT DISTINCT entry_seq, log_seq, action, entry_type
                    FROM store.movements WHERE log_seq > 0) GROUP BY log_seq, action
                HAVING count(*) <> max(entry_seq) - min(entry_seq) + 1
                    OR count(*) FILTER (WHERE entry_type <> {EntryType.EXPIRATION}) <> 1
                    OR count(*) > 1 AND arg_min(entry_type, entry_seq) NOT IN ({EntryType.RELEASE},
                        {EntryType.REDEMPTION_REVERSAL}))
            UNION ALL SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq || ', lot ' || lot_seq FROM (
                SELECT max(d.entry_seq) AS entry_seq, d.lot_seq
                FROM store.due_entries AS d JOIN (SELECT DISTINCT entry_seq, entry_type FROM store.movements
                    WHERE log_seq = 0) AS m USING (entry_seq)
                GROUP BY d.lot_seq, m.entry_type HAVING count(*) > 1)""",
    ),
    Check(
        name="references_have_entries",
        property="I9",
        table="entry_references",
        message="a reference belongs to no entry that takes one, or an entry has two",
        query=f"""SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq FROM store.entry_references
            WHERE entry_seq NOT IN (SELECT entry_seq FROM store.movements WHERE entry_type IN (
                {EntryType.HOLD}, {EntryType.RELEASE}, {EntryType.FORFEIT}, {EntryType.VOID_HOLD}))
            UNION ALL SELECT {_ENTRY_BATCH}, 'entry ' || entry_seq
            FROM (SELECT entry_seq FROM store.entry_references GROUP BY entry_seq HAVING count(*) > 1)""",
    ),
    Check(
        name="details_have_rows",
        property="I9",
        table=None,
        message="details belong to no lot or change, or to one that has others",
        query=f"""SELECT {_LOT_BATCH}, 'lot ' || lot_seq FROM (SELECT lot_seq FROM store.lot_details
                WHERE lot_seq NOT IN (SELECT lot_seq FROM store.lots)
                UNION ALL SELECT lot_seq FROM store.lot_details GROUP BY lot_seq HAVING count(*) > 1)
            UNION ALL SELECT {_CHANGE_BATCH}, 'change ' || change_seq FROM (SELECT change_seq FROM store.change_details
                WHERE change_seq NOT IN (SELECT change_seq FROM store.changes)
                UNION ALL SELECT change_seq FROM store.change_details GROUP BY change_seq HAVING count(*) > 1
                UNION ALL SELECT change_seq FROM store.due_changes
                WHERE change_seq NOT IN (SELECT change_seq FROM store.changes)
                UNION ALL SELECT change_seq FROM store.due_changes GROUP BY change_seq HAVING count(*) > 1
                UNION ALL SELECT change_seq FROM store.tier_changes
                WHERE change_seq NOT IN (SELECT change_seq FROM store.changes)
                UNION ALL SELECT change_seq FROM store.tier_changes GROUP BY change_seq HAVING count(*) > 1)""",
    ),
    Check(
        name="tier_changes_have_levels",
        property="I13",
        table="changes",
        message="a change of a tier names no tier type or level of the book, or has no times, or has them for nothing",
        query=f"""SELECT {_batch_of("last_change_seq", "c.change_seq")}, 'change ' || c.change_seq
            FROM store.changes AS c LEFT JOIN store.tier_changes AS t ON t.change_seq = c.change_seq
            LEFT JOIN store.names AS n ON n.number = c.value AND n.state_type = {StateType.TIER}
            LEFT JOIN store.objects AS o ON o.number = c.key AND o.kind = {ObjectKind.TIER}
            WHERE CASE WHEN c.state_type <> {StateType.TIER} OR c.operation <> {ChangeOperation.SET}
                THEN t.change_seq IS NOT NULL
                ELSE t.change_seq IS NULL OR n.number IS NULL OR o.number IS NULL END""",
    ),
    Check(
        name="lot_ids_are_unique",
        property="I9",
        table="lots",
        message="a lot is not at its place in its entry, so its id is another one's, or an entry makes several",
        query=f"""SELECT {_LOT_BATCH}, 'lot ' || lot_seq FROM (
                SELECT lot_seq FROM store.lots WHERE place <> 0
                    AND place <> lot_seq - (SELECT min(lot_seq) FROM store.lots AS f WHERE f.entry_seq = lots.entry_seq)
                UNION ALL SELECT max(lot_seq) FROM store.lots GROUP BY entry_seq, place HAVING count(*) > 1
                UNION ALL SELECT lot_seq FROM store.lots WHERE place > 0 AND entry_seq NOT IN (
                    SELECT entry_seq FROM store.movements
                    WHERE entry_type IN ({EntryType.TRANSFER}, {EntryType.REDEMPTION_REVERSAL})))""",
    ),
    Check(
        name="holder_ids_are_unique",
        property="I9",
        table="holders",
        message="two holders have the same external id or id",
        query=f"""SELECT {_HOLDER_BATCH}, 'holder ' || number FROM (
                SELECT max(number) AS number FROM store.holders GROUP BY kind, external_id HAVING count(*) > 1
                UNION ALL SELECT max(number) FROM store.holders WHERE given_id IS NOT NULL
                    GROUP BY lower(given_id) HAVING count(*) > 1)""",
    ),
    Check(
        name="entries_have_causes",
        property="I10",
        table="movements",
        message="an entry has no cause, or its record failed",
        query=f"""SELECT {_batch_of("last_entry_seq", "m.entry_seq")},
                'entry ' || m.entry_seq || ', log_seq ' || m.log_seq
            FROM (SELECT DISTINCT entry_seq, log_seq, action FROM store.movements) AS m
            LEFT JOIN {_RECORDS} AS r ON r.log_seq = m.log_seq
            LEFT JOIN store.due_entries AS d ON d.entry_seq = m.entry_seq
            LEFT JOIN store.actions AS a ON a.number = m.action
            WHERE CASE WHEN m.log_seq = 0 THEN d.entry_seq IS NULL OR m.action <> 0
                ELSE r.log_seq IS NULL OR r.failed OR d.entry_seq IS NOT NULL
                    OR (r.kind = 1 AND (a.number IS NULL OR a.program <> r.program))
                    OR (r.kind = 2 AND m.action <> 0) END
            UNION ALL SELECT {_batch_of("last_entry_seq", "d.entry_seq")},
                'entry ' || d.entry_seq || ' of lot ' || d.lot_seq || ' has no movement'
            FROM store.due_entries AS d LEFT JOIN store.movements AS m
                ON m.entry_seq = d.entry_seq AND m.lot_seq = d.lot_seq AND m.log_seq = 0 WHERE m.entry_seq IS NULL""",
    ),
    Check(
        name="changes_have_causes",
        property="I10",
        table="changes",
        message="a change has no cause, or is of a failed record and not of creation or enrollment",
        query=f"""SELECT {_batch_of("last_change_seq", "c.change_seq")},
                'change ' || c.change_seq || ', log_seq ' || c.log_seq
            FROM store.changes AS c LEFT JOIN {_RECORDS} AS r USING (log_seq)
            LEFT JOIN store.due_changes AS d ON d.change_seq = c.change_seq
            WHERE CASE WHEN c.log_seq = 0 THEN d.change_seq IS NULL OR c.action <> 0
                    ELSE r.log_seq IS NULL OR d.change_seq IS NOT NULL END
                OR r.failed AND c.state_type NOT IN ({StateType.PARTICIPANT}, {StateType.ENROLLMENT})
                OR c.operation NOT BETWEEN {ChangeOperation.SET} AND {ChangeOperation.AUTO_RESET}
            UNION ALL SELECT {_CHANGE_BATCH}, 'change ' || change_seq || ' of due work names no object'
            FROM store.due_changes WHERE (kind, object) NOT IN (SELECT (kind, number) FROM store.objects)""",
    ),
    Check(
        name="holders_have_causes",
        property="I10",
        table="holders",
        message="a holder was created by no record",
        query=f"""SELECT {_HOLDER_BATCH}, 'holder ' || number FROM store.holders
            WHERE log_seq NOT IN (SELECT log_seq FROM {_RECORDS})""",
    ),
    Check(
        name="generated_events_have_causes",
        property="I10",
        table="generated_events",
        message="a generated event was made by no completed event or automation, or does not follow from it",
        query=f"""SELECT {_batch_of("last_log_seq", "g.log_seq")}, 'log_seq ' || g.log_seq
            FROM store.generated_events AS g
            LEFT JOIN store.events AS e ON e.log_seq = g.log_seq
            LEFT JOIN store.actions AS a ON a.number = g.action
            LEFT JOIN {_RECORDS} AS p ON p.log_seq = g.parent AND p.kind = 1
            LEFT JOIN store.events AS o ON o.log_seq = g.parent
            LEFT JOIN store.generated_events AS h ON h.log_seq = g.parent
            WHERE g.automation = 0 AND (
                e.log_seq IS NULL OR p.log_seq IS NULL OR p.failed OR a.number IS NULL OR a.program <> e.program
                OR a.program <> p.program OR g.parent >= g.log_seq OR e.source <> 0
                OR g.generation <> CASE WHEN e.event_timestamp - o.event_timestamp >= {DELAY_NEW_GENERATION} THEN 0
                    ELSE coalesce(h.generation, 0) + 1 END
                OR g.under_broadcast <> CASE WHEN a.type = {ActionType.BROADCAST} THEN true
                    WHEN e.event_timestamp - o.event_timestamp >= {DELAY_NEW_GENERATION} THEN false
                    ELSE coalesce(h.under_broadcast, false) END
                OR a.type NOT IN ({ActionType.SCHEDULE_EVENT}, {ActionType.BROADCAST})
                OR g.generation NOT BETWEEN 0 AND {GENERATION_MAX})
            UNION ALL SELECT {_batch_of("last_log_seq", "g.log_seq")}, 'log_seq ' || g.log_seq
            FROM store.generated_events AS g
            LEFT JOIN store.events AS e ON e.log_seq = g.log_seq
            LEFT JOIN store.objects AS m ON m.kind = {ObjectKind.AUTOMATION} AND m.number = g.automation
            WHERE g.automation <> 0 AND (e.log_seq IS NULL OR m.number IS NULL OR m.program <> e.program
                OR g.parent <> 0 OR g.action <> 0 OR g.generation <> 0 OR g.under_broadcast OR e.source <> 0)
            UNION ALL SELECT {_LOG_BATCH}, 'log_seq ' || log_seq || ' has a key of generated events'
            FROM store.events WHERE idempotency_key LIKE 'earnbook:%'
                AND log_seq NOT IN (SELECT log_seq FROM store.generated_events)""",
    ),
    Check(
        name="attempts_are_retries",
        property="I11",
        table="attempts",
        message="an attempt follows no failed one, or was made by no retry_event",
        query=f"""WITH tries AS (
                SELECT log_seq, 1 AS attempt, outcome, NULL AS by_log_seq, processed_at, program FROM store.events
                WHERE log_seq IN (SELECT log_seq FROM store.attempts)
                UNION ALL SELECT log_seq, attempt, outcome, by_log_seq, processed_at, NULL FROM store.attempts),
            steps AS (SELECT *, lag(outcome) OVER w AS outcome_before, row_number() OVER w AS n,
                first_value(program) OVER w AS of_program
                FROM tries WINDOW w AS (PARTITION BY log_seq ORDER BY attempt))
            SELECT {_batch_of("last_log_seq", "s.by_log_seq")}, 'log_seq ' || s.log_seq || ', attempt ' || s.attempt
            FROM steps AS s LEFT JOIN store.operations AS o ON o.log_seq = s.by_log_seq
            WHERE s.attempt <> s.n OR s.attempt > 1 AND (s.outcome_before IS NULL OR s.outcome_before = {Outcome.OK}
                OR o.log_seq IS NULL OR o.type <> {OperationType.RETRY_EVENT} OR o.outcome <> {Outcome.OK}
                OR o.processed_at <> s.processed_at OR o.program <> s.of_program)
            UNION ALL SELECT {_LOG_BATCH}, 'log_seq ' || log_seq || ' retried nothing, or twice'
            FROM store.operations WHERE type = {OperationType.RETRY_EVENT} AND outcome = {Outcome.OK}
                AND log_seq NOT IN (SELECT by_log_seq FROM store.attempts GROUP BY by_log_seq HAVING count(*) = 1)
            UNION ALL SELECT NULL, 'log_seq ' || a.log_seq || ': change ' || c.change_seq || ' is of another record'
            FROM store.attempts AS a JOIN store.changes AS c
                ON c.change_seq BETWEEN a.first_change_seq AND a.last_change_seq WHERE c.log_seq <> a.log_seq""",
    ),
    Check(
        name="event_keys_are_unique",
        property="I12",
        table="events",
        message="two events of a program have the same idempotency key",
        query=f"""SELECT {_LOG_BATCH}, 'log_seq ' || log_seq || ', key ' || idempotency_key FROM (
                SELECT max(log_seq) AS log_seq, program, idempotency_key FROM store.events
                WHERE key_hash IN (SELECT key_hash FROM store.events GROUP BY key_hash HAVING count(*) > 1)
                GROUP BY program, idempotency_key HAVING count(*) > 1)""",
    ),
    Check(
        name="operation_keys_are_unique",
        property="I12",
        table="operations",
        message="two operations of a scope and type have the same idempotency key",
        query=f"""SELECT {_LOG_BATCH}, 'log_seq ' || log_seq || ', key ' || idempotency_key FROM (
                SELECT max(log_seq) AS log_seq, program, type, idempotency_key FROM store.operations
                GROUP BY program, type, idempotency_key HAVING count(*) > 1)""",
    ),
    Check(
        name="counts_are_identities",
        property="I17",
        table="batches",
        message="the counts of a batch do not add up",
        query="""SELECT batch, 'rows_read ' || rows_read || ', completed ' || completed || ', failed ' || failed
            FROM store.batches WHERE rows_read <> events + operations + duplicates + rejected
                OR events + operations + generated <> completed + failed OR late > events + operations""",
    ),
    Check(
        name="counts_are_the_rows",
        property="I17",
        table="batches",
        message="the counts of a batch are not those of its rows",
        query=f"""WITH records AS (
                SELECT log_seq, 1 AS kind, outcome > {Outcome.OK} AS failed, late FROM store.events
                UNION ALL SELECT log_seq, 2, outcome > {Outcome.NO_EFFECT}, late FROM store.operations),
            found AS (SELECT s.batch, count(*) FILTER (WHERE kind = 1) AS events,
                    count(*) FILTER (WHERE kind = 2) AS operations, count(*) FILTER (WHERE failed) AS failed,
                    count(*) FILTER (WHERE late) AS late
                FROM records ASOF JOIN store.log_batches AS s ON records.log_seq >= s.first_log_seq GROUP BY s.batch)
            SELECT b.batch, 'events ' || coalesce(f.events, 0) || ' of ' || (b.events + b.generated) || ', operations '
                || coalesce(f.operations, 0) || ' of ' || b.operations || ', failed ' || coalesce(f.failed, 0) || ' of '
                || b.failed || ', late ' || coalesce(f.late, 0) || ' of ' || b.late
            FROM store.batches AS b LEFT JOIN found AS f USING (batch)
            WHERE coalesce(f.events, 0) <> b.events + b.generated OR coalesce(f.operations, 0) <> b.operations
                OR coalesce(f.failed, 0) <> b.failed OR coalesce(f.late, 0) <> b.late
            UNION ALL SELECT b.batch, 'generated ' || count(g.log_seq) || ' of ' || any_value(b.generated)
            FROM store.batches AS b LEFT JOIN store.log_batches AS s ON s.batch = b.batch
            LEFT JOIN store.generated_events AS g ON g.log_seq BETWEEN s.first_log_seq AND s.last_log_seq
            GROUP BY b.batch HAVING count(g.log_seq) <> any_value(b.generated)
            UNION ALL SELECT batch, 'more rejects are stored than were counted' FROM store.batches
            WHERE rejected < (SELECT count(*) FROM store.rejects WHERE rejects.batch = batches.batch)""",
    ),
    Check(
        name="rulesets_are_their_hash",
        property="I18",
        table="rulesets",
        message="the stored definitions are not those whose hash the batches carry",
        query="""SELECT nullif(batch, 0), 'version ' || version FROM store.rulesets WHERE sha256(document) <> sha256
            UNION ALL SELECT batch, 'batch ' || batch || ' names ruleset ' || ruleset_version FROM store.batches
            WHERE ruleset_version > 0 AND (ruleset_version, ruleset_sha256) NOT IN (
                SELECT (version, sha256) FROM store.rulesets WHERE batch > 0)""",
    ),
)

CHECKS: tuple[Check, ...] = (*_JOURNAL, *_LOTS, *_BUDGETS, *_LOG)
"""The checks of journal, lots, budgets and log."""
