"""The properties of redemptions, reversals and rewards (I15) as named queries, in the form of `verify_checks`."""

from __future__ import annotations

from earnbook.ledger.schema import Bucket, EntryType, OperationType, Outcome, StateType
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.pipeline.verify_checks import Check

_ENTRIES = """(SELECT entry_seq, any_value(log_seq) AS log_seq, entry_type, asset, debit, credit, sum(amount) AS amount
    FROM store.movements WHERE entry_type IN ({types}) GROUP BY entry_seq, entry_type, asset, debit, credit)"""
_LOG_BATCH = "(SELECT min(batch) FROM store.batches WHERE last_log_seq >= x.log_seq)"
_UNITS = """(SELECT log_seq, reward, holder, quantity AS units FROM store.redemptions WHERE quantity IS NOT NULL
    UNION ALL SELECT v.log_seq, d.reward, d.holder, -v.quantity
    FROM store.reversals AS v JOIN store.redemptions AS d ON d.log_seq = v.redemption WHERE v.quantity IS NOT NULL)"""


def _limit(holders: str, field: str) -> str:
    """Counts beyond every limit that any version of the reward had; one without a limit allows all."""
    return f"""SELECT NULL, 'reward ' || c.reward || ', holder ' || c.holder || ': ' || c.redeemed_count
        FROM store.current_reward_counts AS c
        LEFT JOIN (SELECT object, bool_or(snapshot ->> '$.{field}' IS NULL) AS is_free,
                max(CAST(snapshot ->> '$.{field}' AS BIGINT)) AS most
            FROM store.definitions WHERE kind = {ObjectKind.REWARD} GROUP BY object) AS d ON d.object = c.reward
        WHERE c.{holders}
            AND (c.redeemed_count < 0 OR d.object IS NULL OR NOT d.is_free AND c.redeemed_count > d.most)"""


REDEMPTION_CHECKS = (
    Check(
        name="redemptions_are_their_entries",
        property="I15",
        table="redemptions",
        message="a redemption is not what its entry moved and its operation asked, or an entry has none",
        query=f"""SELECT {_LOG_BATCH}, 'redemption of log_seq ' || x.log_seq FROM (
                SELECT coalesce(d.log_seq, m.log_seq) AS log_seq
                FROM store.redemptions AS d
                FULL JOIN {_ENTRIES.format(types=int(EntryType.REDEMPTION))} AS m ON m.entry_seq = d.entry_seq
                LEFT JOIN store.operations AS o ON o.log_seq = d.log_seq
                WHERE d.log_seq IS NULL OR m.entry_seq IS NULL OR o.log_seq IS NULL OR m.log_seq <> d.log_seq
                    OR m.asset <> d.asset OR m.amount <> d.amount OR m.debit <> d.holder * 4 + {Bucket.AVAILABLE}
                    OR m.credit <> d.target OR o.program <> d.program OR o.outcome <> {Outcome.OK}
                    OR o.type <> CASE d.reward WHEN 0 THEN {OperationType.REDEEM} ELSE {OperationType.REDEEM_ITEM} END
                    OR (d.reward > 0) <> (d.unit_cost IS NOT NULL) OR (d.reward > 0) <> (d.reward_version > 0)
                    OR d.quantity * CAST(d.unit_cost AS HUGEINT) <> d.amount
                    OR d.reward > 0 AND (d.reward, d.reward_version) NOT IN (
                        SELECT (object, version) FROM store.definitions WHERE kind = {ObjectKind.REWARD})
                UNION ALL SELECT log_seq FROM store.redemptions GROUP BY log_seq HAVING count(*) > 1) AS x""",
    ),
    Check(
        name="reversals_are_their_entries",
        property="I15",
        table="reversals",
        message="a reversal is not what its entry moved back of its redemption, or an entry has none",
        query=f"""SELECT {_LOG_BATCH}, 'reversal of log_seq ' || x.log_seq FROM (
                SELECT coalesce(v.log_seq, m.log_seq) AS log_seq
                FROM store.reversals AS v
                FULL JOIN {_ENTRIES.format(types=int(EntryType.REDEMPTION_REVERSAL))} AS m ON m.entry_seq = v.entry_seq
                LEFT JOIN store.redemptions AS d ON d.log_seq = v.redemption
                LEFT JOIN store.operations AS o ON o.log_seq = v.log_seq
                WHERE v.log_seq IS NULL OR m.entry_seq IS NULL OR d.log_seq IS NULL OR o.log_seq IS NULL
                    OR m.log_seq <> v.log_seq OR v.redemption >= v.log_seq OR m.asset <> d.asset OR m.amount <> v.amount
                    OR m.debit <> d.target OR m.credit <> d.holder * 4 + {Bucket.AVAILABLE}
                    OR o.type <> {OperationType.REVERSE_REDEMPTION} OR o.outcome <> {Outcome.OK}
                    OR (v.quantity IS NULL) <> (d.quantity IS NULL)
                    OR v.quantity * CAST(d.unit_cost AS HUGEINT) <> v.amount
                UNION ALL SELECT log_seq FROM store.reversals GROUP BY log_seq HAVING count(*) > 1) AS x""",
    ),
    Check(
        name="reversed_is_at_most_redeemed",
        property="I15",
        table="reversals",
        message="more was reversed of a redemption than was redeemed",
        query=f"""SELECT {_LOG_BATCH}, 'redemption of log_seq ' || x.log_seq || ': ' || x.reversed || ' of ' || x.amount
            FROM (SELECT v.redemption AS log_seq, sum(v.amount) AS reversed, any_value(d.amount) AS amount
                FROM store.reversals AS v JOIN store.redemptions AS d ON d.log_seq = v.redemption GROUP BY v.redemption
                HAVING sum(v.amount) > any_value(d.amount) OR sum(v.quantity) > any_value(d.quantity)) AS x""",
    ),
    Check(
        name="reward_counts_keep_their_limits",
        property="I15",
        table="reward_counts",
        message="more units of a reward are redeemed than any limit it ever had allows",
        query=f"{_limit('holder = 0', 'max_total')} UNION ALL {_limit('holder > 0', 'max_per_participant')}",
    ),
    Check(
        name="reward_changes_are_the_counts",
        property="I15",
        table="changes",
        message="a change of a reward is not the count after a redemption or reversal of units, or is missing",
        query=f"""SELECT {_LOG_BATCH}, 'log_seq ' || x.log_seq || ', reward ' || x.reward FROM (
                SELECT coalesce(u.log_seq, c.log_seq) AS log_seq, coalesce(u.reward, c.reward) AS reward
                FROM (SELECT log_seq, reward, sum(units) OVER (PARTITION BY reward ORDER BY log_seq) AS count
                    FROM {_UNITS}) AS u
                FULL JOIN (SELECT log_seq, key AS reward, entity, value FROM store.changes
                    WHERE state_type = {StateType.REWARD}) AS c USING (log_seq, reward)
                LEFT JOIN store.objects AS w ON w.kind = {ObjectKind.REWARD} AND w.number = c.reward
                WHERE u.count IS DISTINCT FROM c.value OR c.entity IS DISTINCT FROM -w.program) AS x""",
    ),
)
"""Redemptions tie to entries and operations, reversals to redemptions, counts to both."""
