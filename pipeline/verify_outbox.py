"""The properties of the outbox (§22.1) as named queries, in the form of `verify_checks`.

The outbox is not sealed: it announces what sealed rows say. So it is derived once more from the whole book, where a
batch derives it from its own rows, and compared.
"""

from __future__ import annotations

from earnbook.ledger.schema import Bucket, ChangeOperation, EntityType, EntryType, Outcome, StateType
from earnbook.pipeline.outbox import EXTENSIONS, NotificationType, entry_type_cases
from earnbook.pipeline.verify_checks import Check

_SECTION = "§22.1"

# A change of a record with the attempt that made it: its place in the log and its time.
_CHANGES = f"""(SELECT c.change_seq, c.entity, c.state_type, c.key,
        CASE WHEN c.operation = {ChangeOperation.SET} THEN c.value END AS level,
        coalesce(a.by_log_seq, c.log_seq) AS place, coalesce(d.changed_at, a.processed_at, r.processed_at) AS at
    FROM store.changes AS c
    LEFT JOIN (SELECT log_seq, processed_at FROM store.events
        UNION ALL SELECT log_seq, processed_at FROM store.operations) AS r ON r.log_seq = c.log_seq
    LEFT JOIN store.attempts AS a ON a.log_seq = c.log_seq
        AND c.change_seq >= a.first_change_seq AND c.change_seq <= a.last_change_seq
    LEFT JOIN store.due_changes AS d ON d.change_seq = c.change_seq
    WHERE c.state_type IN ({StateType.TIER}, {StateType.PARTICIPANT}))"""

# Everything that any type announces: batch, type, number, attempt, place in the log (0: due work), time.
_HAPPENED = f"""(
    SELECT b.batch, {entry_type_cases("m.entry_type")} AS type, m.entry_seq AS number, 0 AS attempt,
        coalesce(a.by_log_seq, m.log_seq) AS place, coalesce(d.created_at, a.processed_at, r.processed_at) AS at,
        2 AS stage
    FROM (SELECT DISTINCT entry_seq, entry_type, log_seq FROM store.movements) AS m
    ASOF JOIN store.entry_batches AS b ON m.entry_seq >= b.first_entry_seq
    LEFT JOIN store.due_entries AS d ON d.entry_seq = m.entry_seq
    LEFT JOIN store.attempts AS a ON a.log_seq = m.log_seq AND a.outcome = {Outcome.OK}
    LEFT JOIN (SELECT log_seq, processed_at FROM store.events
        UNION ALL SELECT log_seq, processed_at FROM store.operations) AS r ON r.log_seq = m.log_seq
    UNION ALL
    SELECT b.batch, {NotificationType.PARTICIPANT_CREATED}, h.number, 0, min(c.place), min(c.at), 1
    FROM store.holders AS h
    ASOF JOIN (SELECT batch, first_holder FROM store.batch_spans WHERE last_holder >= first_holder) AS b
        ON h.number >= b.first_holder
    JOIN {_CHANGES} AS c ON c.entity = h.number AND c.state_type = {StateType.PARTICIPANT}
    WHERE h.kind = {EntityType.PARTICIPANT} GROUP BY ALL
    UNION ALL
    SELECT b.batch, {NotificationType.PARTICIPANT_TIER_CHANGED}, c.change_seq, 0, c.place, c.at, 3
    FROM (SELECT *, lag(level) OVER (PARTITION BY entity, key ORDER BY change_seq) AS level_before
        FROM {_CHANGES} WHERE state_type = {StateType.TIER}) AS c
    ASOF JOIN store.change_batches AS b ON c.change_seq >= b.first_change_seq
    WHERE c.level IS DISTINCT FROM c.level_before
    UNION ALL
    SELECT b.batch, CASE e.outcome WHEN {Outcome.OK} THEN {NotificationType.EVENT_COMPLETED}
        ELSE {NotificationType.EVENT_FAILED} END, e.number, e.attempt, e.place, e.at, 4
    FROM (SELECT log_seq AS number, 1 AS attempt, log_seq AS place, processed_at AS at, outcome FROM store.events
        UNION ALL SELECT log_seq, attempt, by_log_seq, processed_at, outcome FROM store.attempts) AS e
    ASOF JOIN store.log_batches AS b ON e.place >= b.first_log_seq)"""

_EXTENSION_MASK = sum(1 << kind for kind in EXTENSIONS)

OUTBOX_CHECKS = (
    Check(
        name="outbox_types_are_the_endpoints",
        property=_SECTION,
        table="batches",
        message="a batch wrote other types of notifications than its definitions enable",
        query=f"""WITH asked AS (
                SELECT version, w ->> '$.status' AS status, unnest(CAST(w -> '$.enabled_events' AS VARCHAR[])) AS name
                FROM (SELECT version, unnest(CAST(document -> '$.organization.webhooks' AS JSON[])) AS w
                    FROM store.rulesets WHERE batch > 0)),
            codes AS (SELECT unnest(range(1, {max(NotificationType) + 1})) AS code),
            wanted AS (SELECT b.batch, sum(1 << c.code) AS types FROM store.batches AS b CROSS JOIN codes AS c
                WHERE b.outbox = 'all' OR b.outbox = 'enabled' AND EXISTS (SELECT 1 FROM asked AS a
                    WHERE a.version = b.ruleset_version AND a.status = 'ACTIVE'
                        AND a.name IN ('*', store.notification_type_name(c.code))) GROUP BY b.batch)
            SELECT batch, 'batch ' || batch || ': mask ' || found || ' where ' || wanted || ' is enabled'
            FROM (SELECT b.batch, b.outbox_types AS found, CAST(coalesce(w.types, 0) AS BIGINT) AS wanted
                FROM store.batches AS b LEFT JOIN wanted AS w ON w.batch = b.batch)
            WHERE found & ~{_EXTENSION_MASK} <> wanted & ~{_EXTENSION_MASK} OR found & ~wanted <> 0""",
    ),
    Check(
        name="outbox_is_what_happened",
        property=_SECTION,
        table="outbox",
        message="a notification is missing, stands twice, or announces what did not happen",
        query=f"""SELECT coalesce(x.batch, o.batch),
                coalesce(store.notification_type_name(coalesce(x.type, o.type)), '?') || ' of number '
                || coalesce(x.number, o.number) || CASE WHEN x.batch IS NULL THEN ' did not happen'
                    WHEN o.batch IS NULL THEN ' is missing' ELSE ' is in a wrong batch, of a wrong time, or twice' END
            FROM (SELECT h.* FROM {_HAPPENED} AS h JOIN store.batches AS b ON b.batch = h.batch
                WHERE b.outbox_types >> h.type & 1 = 1) AS x
            FULL JOIN (SELECT type, number, attempt, any_value(batch) AS batch, any_value(created_at) AS created_at,
                    count(*) AS times FROM store.outbox GROUP BY type, number, attempt) AS o
                ON o.type = x.type AND o.number = x.number AND o.attempt = x.attempt
            WHERE x.batch IS DISTINCT FROM o.batch OR x.at IS DISTINCT FROM o.created_at OR o.times > 1""",
    ),
    Check(
        name="outbox_is_in_order",
        property=_SECTION,
        table="outbox",
        message="notifications are not dense from 1, or not in the order in which things happened",
        query=f"""WITH placed AS (SELECT o.n, o.batch, o.created_at, h.stage, h.number,
                    nullif(h.place, 0) AS place
                FROM store.outbox AS o JOIN {_HAPPENED} AS h
                    ON h.type = o.type AND h.number = o.number AND h.attempt = o.attempt),
            steps AS (SELECT n, batch, created_at, lag(batch) OVER (ORDER BY n) AS batch_before,
                    lag(created_at) OVER (ORDER BY n) AS time_before, row_number() OVER (ORDER BY n) AS position
                FROM store.outbox)
            SELECT batch, 'notification ' || n || ' stands at ' || position FROM steps
            WHERE n <> position OR batch < batch_before OR created_at < time_before
            UNION ALL SELECT batch, 'notification ' || n || ' stands before one that is earlier in the log'
            FROM (SELECT *, lag(struct_pack(place, stage, number)) OVER (ORDER BY n) AS before FROM placed
                WHERE place IS NOT NULL) WHERE struct_pack(place, stage, number) < before
            UNION ALL SELECT batch, 'notification ' || n || ' stands before one of a smaller number'
            FROM (SELECT *, lag(number) OVER (PARTITION BY stage ORDER BY n) AS before FROM placed WHERE stage < 4)
            WHERE number < before""",
    ),
    Check(
        name="outbox_balances_are_the_fold",
        property=_SECTION,
        table="outbox",
        message="a notification tells another account or balance than its entry left behind",
        query=f"""WITH legs AS (SELECT entry_seq, account, asset, sum(amount) AS amount FROM (
                    SELECT entry_seq, debit AS account, asset, -CAST(amount AS HUGEINT) AS amount FROM store.movements
                    UNION ALL SELECT entry_seq, credit, asset, CAST(amount AS HUGEINT) FROM store.movements)
                GROUP BY ALL),
            folded AS (SELECT entry_seq, account, amount,
                sum(amount) OVER (PARTITION BY account, asset ORDER BY entry_seq) AS balance FROM legs)
            SELECT o.batch, 'notification ' || o.n || ': account ' || o.account || ' had ' || o.balance
            FROM store.outbox AS o LEFT JOIN folded AS f ON f.entry_seq = o.number AND f.account = o.account
            LEFT JOIN (SELECT DISTINCT entry_seq, entry_type FROM store.movements) AS m ON m.entry_seq = o.number
            WHERE CASE WHEN o.type IN ({NotificationType.EVENT_COMPLETED}, {NotificationType.EVENT_FAILED},
                    {NotificationType.PARTICIPANT_CREATED}, {NotificationType.PARTICIPANT_TIER_CHANGED})
                THEN o.account <> 0 OR o.balance <> 0
                ELSE f.balance IS DISTINCT FROM o.balance
                    OR (o.type IN ({NotificationType.PROGRAM_FUNDED}, {NotificationType.PROGRAM_BURNED}))
                        <> (o.account < 0)
                    OR o.account > 0 AND o.account <= 3
                    OR (f.amount > 0) <> (m.entry_type IN ({EntryType.CREDIT}, {EntryType.SETTLE}, {EntryType.HOLD},
                        {EntryType.RELEASE}, {EntryType.MATURITY}, {EntryType.REDEMPTION_REVERSAL}, {EntryType.FUND}))
                    OR m.entry_type = {EntryType.HOLD} AND o.account % 4 <> {Bucket.HELD} END""",
    ),
)
"""The outbox ties to definitions, journal, changes and log."""
