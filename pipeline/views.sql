-- The views of a book. Schema `store` has the physical tables and what the public views share; schema `main` has the
-- public views: the logical rows of §18. Ids are computed (§2.3), amounts are in asset units beside `_minor` integers,
-- times are UTC. `{scale}` is the largest scale of the book's assets.

-- UUIDv5 of a name in a namespace (RFC 4122): SHA-1 with the version and variant bits set.
-- The hash goes through a list of one: an argument that a macro names often is planned as often, and ids are nested.
CREATE OR REPLACE MACRO store.uuid_of_hash(text) AS list_transform([text], lambda hash: CAST(
    hash[1:8] || '-' || hash[9:12] || '-5' || hash[14:16] || '-'
    || translate(hash[17], '0123456789abcdef', '89ab89ab89ab89ab') || hash[18:20] || '-' || hash[21:32] AS UUID))[1];
CREATE OR REPLACE MACRO store.uuid5(namespace, name) AS
    store.uuid_of_hash(sha1(unhex(replace(CAST(namespace AS VARCHAR), '-', '')) || encode(name)));

-- Minor units as asset units, exactly: `unit` is 10^-scale, `power` is 10^scale of the asset.
CREATE OR REPLACE MACRO store.units(minor, unit) AS CAST(minor AS DECIMAL(19, 0)) * unit;
CREATE OR REPLACE MACRO store.wide_units(minor, unit, power) AS
    CAST(CAST(minor AS HUGEINT) // power AS DECIMAL(38, {scale}))
    + CAST(CAST(minor AS HUGEINT) % power AS DECIMAL(19, 0)) * unit;

CREATE OR REPLACE MACRO store.instant(microseconds) AS make_timestamp(microseconds);

-- A mantissa with a scale as plain decimal text without trailing zeros.
CREATE OR REPLACE MACRO store.plain_digits(digits, scale) AS
    digits[1:length(digits) - scale]
    || rtrim(rtrim('.' || right(digits, CAST(scale AS BIGINT)), '0'), '.');
CREATE OR REPLACE MACRO store.plain_number(mantissa, scale) AS
    CASE WHEN mantissa < 0 THEN '-' ELSE '' END
    || CASE WHEN scale <= 0 THEN CAST(abs(mantissa) AS VARCHAR)
        ELSE store.plain_digits(lpad(CAST(abs(mantissa) AS VARCHAR),
            CAST(greatest(scale + 1, length(CAST(abs(mantissa) AS VARCHAR))) AS INTEGER), '0'), scale) END;
CREATE OR REPLACE MACRO store.wide_integer(low, high) AS
    CAST(high AS HUGEINT) * 18446744073709551616
    + CASE WHEN low < 0 THEN CAST(low AS HUGEINT) + 18446744073709551616 ELSE CAST(low AS HUGEINT) END;
CREATE OR REPLACE MACRO store.instant_text(microseconds) AS
    strftime(make_timestamp(microseconds), '%Y-%m-%dT%H:%M:%S')
    || CASE WHEN microseconds % 1000000 = 0 THEN ''
        ELSE '.' || rtrim(lpad(CAST(microseconds % 1000000 AS VARCHAR), 6, '0'), '0') END || 'Z';

-- Microseconds as a Go duration (§4.6): `720h`, `1h30m`, `0.5s`.
CREATE OR REPLACE MACRO store.seconds_text(microseconds) AS
    (microseconds // 1000000) || CASE WHEN microseconds % 1000000 = 0 THEN ''
        ELSE '.' || rtrim(lpad(CAST(microseconds % 1000000 AS VARCHAR), 6, '0'), '0') END || 's';
CREATE OR REPLACE MACRO store.duration_text(microseconds) AS
    CASE WHEN microseconds >= 3600000000 THEN (microseconds // 3600000000) || 'h' ELSE '' END
    || CASE WHEN microseconds % 3600000000 >= 60000000 THEN (microseconds % 3600000000 // 60000000) || 'm' ELSE '' END
    || CASE WHEN microseconds % 60000000 > 0 OR microseconds = 0 THEN store.seconds_text(microseconds % 60000000)
        ELSE '' END;

CREATE OR REPLACE MACRO store.duration_of(text) AS
    coalesce(CAST(nullif(regexp_extract(text, '([0-9]+)h', 1), '') AS BIGINT), 0) * 3600000000
    + coalesce(CAST(nullif(regexp_extract(text, '([0-9]+)m', 1), '') AS BIGINT), 0) * 60000000
    + coalesce(CAST(CAST(nullif(regexp_extract(text, '([0-9.]+)s', 1), '') AS DECIMAL(18, 6)) * 1000000 AS BIGINT), 0);

-- The value of a counter's change (§13.1): a number, or an object where it has a window (null: no window).
CREATE OR REPLACE MACRO store.counter_json(number, reset_at, reset_after) AS
    CASE WHEN reset_after IS NULL THEN number
        ELSE '{"last_reset_at":"' || store.instant_text(reset_at) || '","reset_after":"'
            || store.duration_text(reset_after) || '","value":' || number || '}' END;

-- An attribute's cell (Kind of the ledger's schema) as its text.
CREATE OR REPLACE MACRO store.cell_text(kind, value, scale, text) AS CASE kind
    WHEN 2 THEN CASE WHEN value = 0 THEN 'false' ELSE 'true' END
    WHEN 3 THEN store.plain_number(CAST(value AS HUGEINT), scale)
    WHEN 4 THEN text
    WHEN 8 THEN store.instant_text(value)
    WHEN 10 THEN CAST(value AS VARCHAR) END;

-- Where the checkpoint stands: the last numbers of its batch, 0 when there is none.
CREATE OR REPLACE VIEW store.checkpoint_position AS
SELECT meta.state_batch, coalesce(b.last_log_seq, 0) AS last_log_seq, coalesce(b.last_entry_seq, 0) AS last_entry_seq,
    coalesce(b.last_lot_seq, 0) AS last_lot_seq, coalesce(b.last_change_seq, 0) AS last_change_seq
FROM store.meta AS meta LEFT JOIN store.batches AS b ON b.batch = meta.state_batch;

-- Lots and changes with what only few of them have.
CREATE OR REPLACE VIEW store.full_lots AS
SELECT l.*, CASE WHEN l.wallet > 0 THEN -CAST(l.wallet AS BIGINT) ELSE 1 END AS source,
    coalesce(d.root, l.lot_seq) AS root, d.matures_at, d.reference
FROM store.lots AS l LEFT JOIN store.lot_details AS d ON d.lot_seq = l.lot_seq;
CREATE OR REPLACE VIEW store.full_changes AS
SELECT c.*, coalesce(d.value_high, CASE WHEN c.value < 0 THEN -1 ELSE 0 END) AS value_high, d.reset_at, d.reset_after,
    d.text
FROM store.changes AS c LEFT JOIN store.change_details AS d ON d.change_seq = c.change_seq;
-- Changes of tiers with the times of the new level, which are null where the level is gone.
CREATE OR REPLACE VIEW store.full_tier_changes AS
SELECT c.*, t.acquired_at, t.expires_at, t.own_expiry, t.downgrade_at, t.noted_level
FROM store.changes AS c LEFT JOIN store.tier_changes AS t ON t.change_seq = c.change_seq WHERE c.state_type = 4;

-- Which numbers each batch holds.
CREATE OR REPLACE VIEW store.batch_spans AS
SELECT batch,
    coalesce(lag(last_log_seq) OVER (ORDER BY batch), 0) + 1 AS first_log_seq, last_log_seq,
    coalesce(lag(last_entry_seq) OVER (ORDER BY batch), 0) + 1 AS first_entry_seq, last_entry_seq,
    coalesce(lag(last_lot_seq) OVER (ORDER BY batch), 0) + 1 AS first_lot_seq, last_lot_seq,
    coalesce(lag(last_change_seq) OVER (ORDER BY batch), 0) + 1 AS first_change_seq, last_change_seq,
    coalesce(lag(last_holder) OVER (ORDER BY batch), 0) + 1 AS first_holder, last_holder
FROM store.batches;
CREATE OR REPLACE VIEW store.log_batches AS
SELECT batch, first_log_seq, last_log_seq FROM store.batch_spans WHERE last_log_seq >= first_log_seq;
CREATE OR REPLACE VIEW store.entry_batches AS
SELECT batch, first_entry_seq, last_entry_seq FROM store.batch_spans WHERE last_entry_seq >= first_entry_seq;
CREATE OR REPLACE VIEW store.change_batches AS
SELECT batch, first_change_seq, last_change_seq FROM store.batch_spans WHERE last_change_seq >= first_change_seq;

-- How levels of each tier type are kept (§14.4), from one load of its definition to the next: the retention, where it
-- is in force at all, the duration, and the grace that a level has after its expiry.
CREATE OR REPLACE VIEW store.lifecycles AS
SELECT tier, batch, next_batch, CASE WHEN lifecycle ->> '$.downgrade_policy.mode' IS DISTINCT FROM 'HOLD'
        AND status = 'ACTIVE' THEN lifecycle ->> '$.retention.mode' END AS retention,
    store.duration_of(lifecycle ->> '$.retention.duration') AS duration,
    coalesce(CAST(lifecycle ->> '$.downgrade_policy.grace_days' AS BIGINT), 0) * 86400000000 AS grace,
    lifecycle ->> '$.downgrade_policy.min_level' AS min_level
FROM (SELECT object AS tier, batch, lead(batch) OVER (PARTITION BY object ORDER BY batch, n) AS next_batch,
        snapshot -> '$.lifecycle' AS lifecycle, coalesce(snapshot ->> '$.status', 'ACTIVE') AS status
    FROM store.definitions WHERE kind = 5);

-- (state views are made here)

CREATE OR REPLACE VIEW store.program_list AS
SELECT number, CAST(id AS UUID) AS id, key FROM store.objects WHERE kind = 2;
CREATE OR REPLACE VIEW store.asset_list AS
SELECT number, CAST(id AS UUID) AS id, key AS symbol, scale, inventory_mode, issuance_policy,
    CAST(CASE WHEN scale = 0 THEN '1' ELSE '0.' || repeat('0', scale - 1) || '1' END AS DECIMAL(19, {scale})) AS unit,
    CAST('1' || repeat('0', scale) AS HUGEINT) AS power
FROM store.objects WHERE kind = 3;
CREATE OR REPLACE VIEW store.rule_list AS
SELECT number, CAST(id AS UUID) AS id, key, program FROM store.objects WHERE kind = 4;
CREATE OR REPLACE VIEW store.budget_list AS
SELECT b.number, b.schedule, b.started_at, r.id AS rule_id, r.key AS rule, p.id AS program_id, p.key AS program,
    a.id AS asset_id, a.symbol AS asset, a.scale, a.unit
FROM store.budget_starts AS b
JOIN store.rule_list AS r ON r.number = b.rule
JOIN store.program_list AS p ON p.number = b.program
JOIN store.asset_list AS a ON a.number = b.asset;

-- The id of a holder or, from its id itself, of a program. Views compute it last, for the rows they show.
CREATE OR REPLACE MACRO store.entity_id(entity_kind, given_id, external) AS
    coalesce(CAST(given_id AS UUID), store.uuid5((SELECT id FROM store.objects WHERE kind = 1),
        CASE entity_kind WHEN 1 THEN 'participant:' ELSE 'group:' END || external));
CREATE OR REPLACE VIEW store.holder_list AS
SELECT number, kind, external_id, given_id, log_seq, store.entity_id(kind, given_id, external_id) AS id
FROM store.holders;

-- Everything that owns accounts or state, by number: holders, and programs under minus their number.
CREATE OR REPLACE VIEW store.entity_list AS
SELECT number AS entity, kind, given_id, external_id AS key FROM store.holders
UNION ALL SELECT -number, 3, CAST(id AS VARCHAR), key FROM store.program_list;

CREATE OR REPLACE VIEW store.operation_list AS
SELECT o.*, coalesce(p.id, (SELECT CAST(id AS UUID) FROM store.objects WHERE kind = 1)) AS namespace,
    'operation:' || store.operation_type_name(o.type) || ':' || o.idempotency_key AS name, p.id AS program_id,
    p.key AS program_key
FROM store.operations AS o LEFT JOIN store.program_list AS p ON p.number = o.program;

-- The last of the further attempts at an event (§10.2): all that an event did, it did in its last attempt, but for
-- creations and enrollments.
CREATE OR REPLACE VIEW store.last_attempts AS
SELECT log_seq, max(attempt) AS attempt, arg_max(processed_at, attempt) AS processed_at,
    arg_max(outcome, attempt) AS outcome, arg_max(action, attempt) AS action, arg_max(holder, attempt) AS holder
FROM store.attempts GROUP BY log_seq;

-- Every record of the log with what entries and changes take from it. Its id is `store.uuid5(namespace, name)`: not a
-- column, because a hash of every record is dear, and most queries show few.
CREATE OR REPLACE VIEW store.record_list AS
SELECT e.log_seq, 1 AS kind, p.id AS namespace, e.idempotency_key AS name, e.program,
    coalesce(t.processed_at, e.processed_at) AS processed_at, e.processed_at AS first_processed_at,
    CAST(NULL AS VARCHAR) AS description
FROM store.events AS e JOIN store.program_list AS p ON p.number = e.program
LEFT JOIN store.last_attempts AS t ON t.log_seq = e.log_seq
UNION ALL
SELECT log_seq, 2, namespace, name, program, processed_at, processed_at,
    fields ->> CASE type WHEN 8 THEN '$.reason' ELSE '$.description' END
FROM store.operation_list;

-- Names of rewards by version, and the newest version of each.
CREATE OR REPLACE VIEW store.reward_versions AS
SELECT object AS reward, version, snapshot, snapshot ->> '$.name' AS name FROM store.definitions WHERE kind = 6;
CREATE OR REPLACE VIEW store.reward_list AS
SELECT o.number, CAST(o.id AS UUID) AS id, o.key, o.program, d.snapshot
FROM store.objects AS o
LEFT JOIN (SELECT reward, arg_max(snapshot, version) AS snapshot FROM store.reward_versions GROUP BY reward) AS d
    ON d.reward = o.number
WHERE o.kind = 6;

-- What the operations that redeem and reverse are about: the redemption, its program, what a reward makes of a missing
-- description (§16.2).
CREATE OR REPLACE VIEW store.redemption_records AS
SELECT x.log_seq, x.redemption, x.program, store.uuid5(store.uuid5(o.namespace, o.name), 'redemption') AS redemption_id,
    x.description
FROM (SELECT d.log_seq, d.log_seq AS redemption, d.program, 'Redeemed: ' || w.name AS description
    FROM store.redemptions AS d LEFT JOIN store.reward_versions AS w
        ON w.reward = d.reward AND w.version = d.reward_version
    UNION ALL
    SELECT v.log_seq, v.redemption, d.program, NULL
    FROM store.reversals AS v JOIN store.redemptions AS d ON d.log_seq = v.redemption) AS x
JOIN store.operation_list AS o ON o.log_seq = x.redemption;

CREATE OR REPLACE VIEW store.automation_list AS
SELECT o.number, CAST(o.id AS UUID) AS id, o.key, o.program, p.id AS program_id, p.key AS program_key
FROM store.objects AS o JOIN store.program_list AS p ON p.number = o.program WHERE o.kind = 7;

-- What made each generated event (§17.2, §17.5): an event, by its id, or an automation.
CREATE OR REPLACE VIEW store.generated_list AS
SELECT g.log_seq, g.generation, g.action, g.parent, store.uuid5(p.id, e.idempotency_key) AS parent_event_id,
    a.id AS automation_id, a.key AS automation
FROM store.generated_events AS g
LEFT JOIN store.events AS e ON e.log_seq = g.parent
LEFT JOIN store.program_list AS p ON p.number = e.program
LEFT JOIN store.automation_list AS a ON a.number = g.automation;
CREATE OR REPLACE MACRO store.scheduled_key(parent_id, rule_id, action_index) AS
    'earnbook:sched:' || CAST(parent_id AS VARCHAR) || ':' || CAST(rule_id AS VARCHAR) || ':' || action_index;

CREATE OR REPLACE VIEW store.action_list AS
SELECT a.number, a.rule_version, a.action_index, a.type, a.asset, a.key, a.description, r.id AS rule_id,
    r.key AS rule_key, a.rule
FROM store.actions AS a JOIN store.rule_list AS r ON r.number = a.rule;

-- The id of an entry that a record makes: `n` is 0 for the entry of the action or operation, 1, 2, … for the
-- expirations that follow it (§9.9).
CREATE OR REPLACE MACRO store.entry_id(kind, record_id, rule_id, action_index, n) AS
    store.uuid5(record_id, CASE kind WHEN 1 THEN 'entry:' || CAST(rule_id AS VARCHAR) || ':' || action_index || ':'
        ELSE 'entry:' END || n);

-- Expirations in the record that brought their lots back, and their `n`: few, so they are found by themselves.
CREATE OR REPLACE VIEW store.expirations_in_records AS
SELECT m.entry_seq, m.entry_seq - min(o.entry_seq) AS n
FROM store.movements AS m JOIN store.movements AS o USING (log_seq, action)
WHERE m.entry_type = 9 AND m.log_seq > 0 AND o.log_seq > 0 GROUP BY m.entry_seq;

-- One row per entry that a record made.
CREATE OR REPLACE VIEW store.caused_entries AS
SELECT m.entry_seq, m.log_seq, m.entry_type, m.action, m.asset, m.amount, m.lot_seq,
    r.kind, store.uuid5(r.namespace, r.name) AS record_id, coalesce(d.program, r.program) AS program,
    r.processed_at AS created_at,
    CASE WHEN m.entry_type <> 9 THEN coalesce(a.description, r.description, d.description) END AS description,
    CASE WHEN m.entry_type <> 9 THEN d.redemption_id END AS redemption_id,
    a.rule_id, a.rule_key, a.rule_version, a.action_index,
    store.entry_id(r.kind, store.uuid5(r.namespace, r.name), a.rule_id, a.action_index, coalesce(x.n, 0)) AS id
FROM (SELECT entry_seq, any_value(log_seq) AS log_seq, any_value(entry_type) AS entry_type,
        any_value(action) AS action, any_value(asset) AS asset,
        CAST(sum(amount) FILTER (WHERE entry_type <> 7 OR credit > 3) AS BIGINT) AS amount, max(lot_seq) AS lot_seq
    FROM store.movements WHERE log_seq > 0 GROUP BY entry_seq) AS m
JOIN store.record_list AS r USING (log_seq)
LEFT JOIN store.action_list AS a ON a.number = m.action
LEFT JOIN store.redemption_records AS d ON d.log_seq = m.log_seq
LEFT JOIN store.expirations_in_records AS x ON x.entry_seq = m.entry_seq;

-- One movement of an entry names the lot that it creates; it is joined as it is stored, not grouped, and the lot's
-- position among those of its entry is stored, so that a look-up of one lot reads little else.
CREATE OR REPLACE MACRO store.lot_id(kind, record_id, rule_id, action_index, place) AS
    store.uuid5(store.entry_id(kind, record_id, rule_id, action_index, 0), 'lot:' || place);
CREATE OR REPLACE VIEW store.lot_list AS
SELECT l.*, r.kind, r.namespace, r.name, a.rule_id, a.action_index
FROM store.full_lots AS l
JOIN store.movements AS m ON m.entry_seq = l.entry_seq AND m.lot_seq = l.lot_seq
JOIN store.record_list AS r ON r.log_seq = m.log_seq
LEFT JOIN store.action_list AS a ON a.number = m.action;

CREATE OR REPLACE VIEW store.entry_list AS
SELECT c.entry_seq, c.id, c.created_at, c.entry_type, c.program, c.asset, c.amount, c.kind AS cause,
    c.record_id AS cause_id, c.log_seq, CASE c.kind WHEN 1 THEN c.record_id END AS event_id, c.rule_id, c.rule_key,
    c.rule_version, c.action_index, l.reference, c.redemption_id, c.description
FROM store.caused_entries AS c
LEFT JOIN (SELECT l.entry_seq, d.reference FROM store.lot_details AS d JOIN store.lots AS l USING (lot_seq)
    WHERE d.reference IS NOT NULL AND d.root = d.lot_seq
    UNION ALL SELECT entry_seq, reference FROM store.entry_references) AS l USING (entry_seq)
UNION ALL
SELECT d.entry_seq, store.uuid5(store.lot_id(l.kind, store.uuid5(l.namespace, l.name), l.rule_id, l.action_index, l.place),
        CASE m.entry_type WHEN 8 THEN 'maturity' ELSE 'expiration' END), d.created_at,
    m.entry_type, d.program, m.asset, m.amount, 3,
    store.lot_id(l.kind, store.uuid5(l.namespace, l.name), l.rule_id, l.action_index, l.place), 0, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL
FROM store.due_entries AS d
JOIN (SELECT entry_seq, entry_type, asset, amount FROM store.movements WHERE log_seq = 0) AS m USING (entry_seq)
JOIN store.lot_list AS l USING (lot_seq);

-- The legs of every entry, one row per account, but every recipient of a transfer by itself (§16.4); `leg` is the
-- stored position of its first movement.
CREATE OR REPLACE VIEW store.leg_list AS
SELECT entry_seq, account, any_value(asset) AS asset, CAST(sum(amount) AS BIGINT) AS amount, min(leg) AS leg
FROM (SELECT entry_seq, debit AS account, asset, -amount AS amount, rowid AS leg FROM store.movements
    UNION ALL SELECT entry_seq, credit, asset, amount, rowid FROM store.movements WHERE entry_type <> 12)
GROUP BY entry_seq, account HAVING sum(amount) <> 0
UNION ALL SELECT entry_seq, credit, asset, amount, rowid FROM store.movements WHERE entry_type = 12;

-- Accounts as they read: entity, bucket.
CREATE OR REPLACE MACRO store.account_entity(account) AS
    CASE WHEN account < 0 THEN account WHEN account > 3 THEN account // 4 END;
CREATE OR REPLACE MACRO store.account_bucket(account) AS
    CASE WHEN account > 3 THEN store.bucket_name(account % 4) ELSE 'AVAILABLE' END;
CREATE OR REPLACE MACRO store.lot_bucket(status) AS CASE status WHEN 1 THEN 3 WHEN 2 THEN 1 WHEN 3 THEN 2 ELSE 0 END;
CREATE OR REPLACE MACRO store.account_type(account, kind) AS
    CASE account WHEN 1 THEN 'SYSTEM_ISSUANCE' WHEN 2 THEN 'SYSTEM_REDEMPTION' WHEN 3 THEN 'SYSTEM_BREAKAGE'
        ELSE store.entity_type_name(kind) END;

-- What every entry does to lots: moves as they are written down and, for entries without such, what their movements
-- amount to. `status` and `hold_reference` are those after it, where the move itself says them; `change` is of what is
-- left of the lot, `place` its order within the entry.
CREATE OR REPLACE VIEW store.lot_changes AS
SELECT p.entry_seq, p.lot_seq, p.index AS place, p.kind, true AS is_written, nullif(p.status_before, 0) AS given_before,
    p.status_after AS status, p.hold_reference, p.repaid,
    CASE WHEN p.status_before = 0 THEN l.amount - p.repaid ELSE p.remaining_after - p.remaining_before END AS change
FROM store.lot_moves AS p JOIN store.lots AS l USING (lot_seq)
UNION ALL
SELECT m.entry_seq, m.lot_seq, m.rowid,
    CASE WHEN m.entry_seq = l.entry_seq THEN 1 WHEN m.entry_type = 8 THEN 6 WHEN m.entry_type = 9 THEN 7 ELSE 2 END,
    false, NULL,
    CASE WHEN m.entry_seq = l.entry_seq THEN CASE m.credit % 4 WHEN 2 THEN 3 WHEN 3 THEN 1 ELSE 2 END
        WHEN m.entry_type = 8 THEN 2 WHEN m.entry_type = 9 THEN 5 END,
    CASE WHEN m.entry_seq = l.entry_seq AND m.credit % 4 = 2 THEN l.reference END, 0,
    CASE WHEN m.entry_seq = l.entry_seq THEN m.amount WHEN m.entry_type = 8 THEN 0 ELSE -m.amount END
FROM store.movements AS m JOIN store.full_lots AS l ON l.lot_seq = m.lot_seq
WHERE m.lot_seq > 0 AND m.entry_seq NOT IN (SELECT entry_seq FROM store.lot_moves);

-- The same with what was left before and after, and what the moves before say of the lot (`last`).
CREATE OR REPLACE VIEW store.lot_steps AS
SELECT entry_seq, lot_seq, place, kind, is_written, given_before, status, hold_reference, repaid,
    CAST(sum(change) OVER w - change AS BIGINT) AS remaining_before, CAST(sum(change) OVER w AS BIGINT) AS remaining_after,
    last_value(CASE WHEN status IS NOT NULL THEN struct_pack(status := status, hold_reference := hold_reference) END
        IGNORE NULLS) OVER (PARTITION BY lot_seq ORDER BY entry_seq, place
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS last
FROM store.lot_changes WINDOW w AS (PARTITION BY lot_seq ORDER BY entry_seq, place);

CREATE OR REPLACE VIEW main.batches AS
SELECT b.batch, CAST(b.organization AS UUID) AS organization_id, b.clock_mode, store.instant(b.book_clock) AS book_clock,
    b.ruleset_version, b.ruleset_sha256, b.last_log_seq, b.last_entry_seq, b.last_lot_seq, b.last_change_seq,
    b.last_holder, store.instant(b.clock_reading) AS clock_reading, store.instant(b.clock_fixed) AS clock_fixed,
    store.instant(b.horizon) AS horizon, b.record_order, b.evaluations, b.rows_read, b.events, b.operations,
    b.duplicates, b.rejected, b.generated, b.completed, b.failed, b.late, b.outbox,
    list_transform(list_filter(range(1, 64), lambda code: b.outbox_types >> code & 1 = 1),
        lambda code: store.notification_type_name(code)) AS notification_types,
    (SELECT list(struct_pack(name := s.name, sha256 := s.sha256, "rows" := s."rows") ORDER BY s.number)
        FROM store.batch_sources AS bs JOIN store.sources AS s ON s.number = bs.source WHERE bs.batch = b.batch)
        AS sources,
    (SELECT list(struct_pack("table" := d.name, "rows" := d.row_count, digest := d.digest) ORDER BY d.position)
        FROM store.digests AS d WHERE d.batch = b.batch) AS digests,
    b.previous_seal, b.seal, store.instant(b.committed_at) AS committed_at, b.host, b.run_id
FROM store.batches AS b ORDER BY b.batch;

CREATE OR REPLACE VIEW main.entries AS
SELECT e.entry_seq AS seq, e.id, b.batch, store.instant(e.created_at) AS created_at,
    store.entry_type_name(e.entry_type) AS action_type, p.id AS program_id, p.key AS program, a.id AS asset_id,
    a.symbol AS asset, store.units(e.amount, a.unit) AS amount, e.amount AS amount_minor,
    CASE e.cause WHEN 1 THEN 'EVENT' WHEN 2 THEN 'OPERATION' ELSE 'DUE' END AS cause, e.cause_id,
    nullif(e.log_seq, 0) AS log_seq, e.event_id, e.rule_id, e.rule_key AS rule, e.rule_version, e.action_index,
    e.reference AS reference_id, e.redemption_id, e.description
FROM store.entry_list AS e
LEFT JOIN store.program_list AS p ON p.number = e.program
JOIN store.asset_list AS a ON a.number = e.asset
LEFT JOIN store.entry_batches AS b ON e.entry_seq BETWEEN b.first_entry_seq AND b.last_entry_seq;

CREATE OR REPLACE VIEW main.postings AS
SELECT l.entry_seq,
    CAST(row_number() OVER (PARTITION BY l.entry_seq ORDER BY l.amount > 0, l.leg) - 1 AS SMALLINT) AS index,
    store.account_type(l.account, n.kind) AS entity_type, store.entity_id(n.kind, n.given_id, n.key) AS entity_id,
    n.key AS entity, a.id AS asset_id,
    a.symbol AS asset, store.account_bucket(l.account) AS bucket, store.units(l.amount, a.unit) AS amount,
    l.amount AS amount_minor, b.batch
FROM store.leg_list AS l
LEFT JOIN store.entity_list AS n ON n.entity = store.account_entity(l.account)
JOIN store.asset_list AS a ON a.number = l.asset
LEFT JOIN store.entry_batches AS b ON l.entry_seq BETWEEN b.first_entry_seq AND b.last_entry_seq;

CREATE OR REPLACE VIEW main.lots AS
SELECT l.lot_seq, store.lot_id(l.kind, store.uuid5(l.namespace, l.name), l.rule_id, l.action_index, l.place) AS id,
    store.entity_type_name(n.kind) AS holder_type, store.entity_id(n.kind, n.given_id, n.external_id) AS holder_id,
    n.external_id AS holder,
    a.id AS asset_id, a.symbol AS asset, p.id AS program_id, p.key AS program,
    store.account_type(l.source, 3) AS source_type, s.id AS source_id, l.root AS root_lot_seq, l.entry_seq,
    store.units(l.amount, a.unit) AS amount, l.amount AS amount_minor, store.instant(l.created_at) AS created_at,
    store.instant(l.expires_at) AS expires_at, store.instant(l.matures_at) AS matures_at,
    l.reference AS reference_id, b.batch, store.units(coalesce(o.remaining, 0), a.unit) AS remaining,
    coalesce(o.remaining, 0) AS remaining_minor,
    CASE WHEN o.lot_seq IS NOT NULL THEN store.lot_status_name(o.status) WHEN x.lot_seq IS NOT NULL THEN 'EXPIRED'
        ELSE 'CONSUMED' END AS status,
    o.hold_reference AS hold_reference_id, coalesce(o.provisional, false) AS provisional
FROM store.lot_list AS l
JOIN store.holder_list AS n ON n.number = l.holder
JOIN store.asset_list AS a ON a.number = l.asset
LEFT JOIN store.program_list AS p ON p.number = l.program
LEFT JOIN store.program_list AS s ON s.number = -l.source
LEFT JOIN store.current_open_lots AS o ON o.lot_seq = l.lot_seq
LEFT JOIN (SELECT DISTINCT lot_seq FROM store.movements WHERE entry_type = 9) AS x ON x.lot_seq = l.lot_seq
LEFT JOIN store.entry_batches AS b ON l.entry_seq BETWEEN b.first_entry_seq AND b.last_entry_seq;

CREATE OR REPLACE VIEW main.lot_moves AS
SELECT s.entry_seq, CAST(row_number() OVER (PARTITION BY s.entry_seq ORDER BY s.place) - 1 AS INTEGER) AS index,
    s.lot_seq, store.lot_move_kind_name(s.kind) AS kind,
    store.lot_status_name(CASE WHEN s.is_written THEN s.given_before WHEN s.kind <> 1 THEN s.last.status END)
        AS status_before,
    s.remaining_before AS remaining_before_minor,
    store.lot_status_name(CASE WHEN s.status IS NOT NULL THEN s.status WHEN s.remaining_after = 0 THEN 4
        ELSE s.last.status END) AS status_after,
    s.remaining_after AS remaining_after_minor,
    CASE WHEN s.status IS NOT NULL THEN s.hold_reference WHEN s.remaining_after > 0 THEN s.last.hold_reference END
        AS hold_reference_after,
    s.repaid AS repaid_minor, b.batch
FROM store.lot_steps AS s
LEFT JOIN store.entry_batches AS b ON s.entry_seq BETWEEN b.first_entry_seq AND b.last_entry_seq;

CREATE OR REPLACE VIEW main.events AS
SELECT store.uuid5(p.id, e.idempotency_key) AS id, e.log_seq, b.batch, p.id AS program_id, p.key AS program,
    e.idempotency_key, CASE WHEN g.log_seq IS NULL THEN 'EXTERNAL' ELSE 'SYSTEM' END AS event_type,
    CASE WHEN e.given & 1 > 0 THEN coalesce(e.given_participant, h.external_id) END AS external_id,
    CASE WHEN e.given & 2 > 0 THEN coalesce(CAST(e.given_participant AS UUID),
        store.entity_id(h.kind, h.given_id, h.external_id)) END AS participant_id,
    CASE WHEN e.given & 4 > 0 THEN coalesce(e.given_recipient, r.external_id) END AS recipient_external_id,
    CASE WHEN e.given & 8 > 0 THEN coalesce(CAST(e.given_recipient AS UUID),
        store.entity_id(r.kind, r.given_id, r.external_id)) END AS recipient_id,
    store.instant(e.event_timestamp) AS event_timestamp, e.event_data, e.late,
    coalesce(g.generation, CAST(0 AS TINYINT)) AS generation, g.parent_event_id, g.automation_id, g.automation,
    s.name AS source,
    CASE WHEN e.source > 0 THEN e.source_row END AS source_row
FROM store.events AS e
JOIN store.program_list AS p ON p.number = e.program
LEFT JOIN store.holder_list AS h ON h.number = e.holder
LEFT JOIN store.holder_list AS r ON r.number = e.recipient
LEFT JOIN store.sources AS s ON s.number = e.source
LEFT JOIN store.generated_list AS g ON g.log_seq = e.log_seq
LEFT JOIN store.log_batches AS b ON e.log_seq BETWEEN b.first_log_seq AND b.last_log_seq;

CREATE OR REPLACE VIEW main.operations AS
SELECT store.uuid5(o.namespace, o.name) AS id, o.log_seq, b.batch, store.operation_type_name(o.type) AS type,
    o.program_id, o.program_key AS program,
    o.idempotency_key, store.instant(o.effective_at) AS effective_at, o.fields, o.late, s.name AS source,
    CASE WHEN o.source > 0 THEN o.source_row END AS source_row
FROM store.operation_list AS o
LEFT JOIN store.sources AS s ON s.number = o.source
LEFT JOIN store.log_batches AS b ON o.log_seq BETWEEN b.first_log_seq AND b.last_log_seq;

CREATE OR REPLACE VIEW main.outcomes AS
SELECT store.uuid5(t.namespace, t.name) AS record_id, t.log_seq, t.attempt,
    store.uuid5(o.namespace, o.name) AS by_operation_id,
    store.instant(t.processed_at) AS processed_at,
    store.entity_id(h.kind, h.given_id, h.external_id) AS participant_id,
    store.entity_id(r.kind, r.given_id, r.external_id) AS recipient_id,
    CASE WHEN t.failed THEN 'FAILED' ELSE 'COMPLETED' END AS status, store.outcome_name(t.outcome) AS code,
    a.rule_id, a.rule_key AS rule, a.action_index, CAST(NULL AS VARCHAR) AS message, b.batch
FROM (SELECT p.id AS namespace, e.idempotency_key AS name, e.log_seq, CAST(1 AS INTEGER) AS attempt, 0 AS by_log_seq,
        e.processed_at, e.holder, e.recipient, e.outcome, e.outcome > 0 AS failed, e.action
    FROM store.events AS e JOIN store.program_list AS p ON p.number = e.program
    UNION ALL
    SELECT p.id, e.idempotency_key, n.log_seq, n.attempt, n.by_log_seq, n.processed_at, n.holder, n.recipient,
        n.outcome, n.outcome > 0, n.action
    FROM store.attempts AS n JOIN store.events AS e ON e.log_seq = n.log_seq
    JOIN store.program_list AS p ON p.number = e.program
    UNION ALL
    SELECT namespace, name, log_seq, 1, 0, processed_at, holder, 0, outcome, outcome > 1, 0
    FROM store.operation_list) AS t
LEFT JOIN store.operation_list AS o ON o.log_seq = t.by_log_seq
LEFT JOIN store.holder_list AS h ON h.number = t.holder
LEFT JOIN store.holder_list AS r ON r.number = t.recipient
LEFT JOIN store.action_list AS a ON a.number = t.action
LEFT JOIN store.log_batches AS b ON greatest(t.log_seq, t.by_log_seq) BETWEEN b.first_log_seq AND b.last_log_seq;

-- Changes with the change of the same thing before; only numbers go through the window.
CREATE OR REPLACE VIEW store.change_steps AS
SELECT *, lag(change_seq) OVER w AS seq_before, lag(operation) OVER w AS operation_before,
    lag(value_kind) OVER w AS kind_before, lag(value) OVER w AS value_before, lag(value_scale) OVER w AS scale_before
FROM store.changes WINDOW w AS (PARTITION BY entity, state_type, key ORDER BY change_seq);

-- The high word of a value: what is stored, or the sign of the low word.
CREATE OR REPLACE MACRO store.high_word(stored, low) AS coalesce(stored, CASE WHEN low < 0 THEN -1 ELSE 0 END);

-- What the actions of events did, one row for each that left a row: entries, changes of state, and stored results.
CREATE OR REPLACE VIEW store.action_entries AS
SELECT log_seq, action, min(entry_seq) AS entry_seq, any_value(asset) AS asset,
    CAST(sum(amount) FILTER (WHERE entry_type <> 7 OR credit > 3 AND credit % 4 <> 2) AS BIGINT) AS amount,
    max(CASE WHEN credit > 3 AND entry_type IN (1, 3, 4, 7) THEN credit WHEN debit > 3 THEN debit END) AS account
FROM store.movements WHERE action > 0 AND entry_type <> 9 GROUP BY log_seq, action;
CREATE OR REPLACE VIEW store.action_changes AS
SELECT log_seq, action, max(change_seq) AS change_seq FROM store.changes
WHERE action > 0 AND state_type NOT IN (5, 6) GROUP BY log_seq, action;

-- The number that a COUNTER would have added, or the text that SET_ATTRIBUTE would have set.
CREATE OR REPLACE MACRO store.result_value(action_type, action_key, kind, value, high, scale, text) AS
    CASE WHEN action_type = 7 AND kind = 3 THEN store.plain_number(store.wide_integer(value, high), scale)
        WHEN action_type = 10 AND kind > 0 THEN store.cell_text(kind, value, scale, text)
        WHEN action_type IN (8, 9, 12, 13) AND kind > 0 THEN action_key END;
-- The number that a COUNTER added, from the change and the one before it.
CREATE OR REPLACE MACRO store.added(low, high, scale, low_before, high_before, scale_before) AS
    store.plain_number(
        store.wide_integer(low, high) * CAST(pow(10, greatest(coalesce(scale_before, 0) - scale, 0)) AS HUGEINT)
        - coalesce(store.wide_integer(low_before, high_before), 0)
            * CAST(pow(10, greatest(scale - coalesce(scale_before, 0), 0)) AS HUGEINT),
        greatest(scale, coalesce(scale_before, 0)));

CREATE OR REPLACE VIEW store.action_values AS
SELECT c.log_seq, c.action, c.entity,
    CASE WHEN c.state_type = 2 THEN store.added(c.value, store.high_word(d.value_high, c.value), c.value_scale,
        c.value_before, store.high_word(o.value_high, c.value_before), c.scale_before) END AS added,
    CASE WHEN c.state_type = 3 THEN store.cell_text(c.value_kind, c.value, c.value_scale, d.text) END AS text
FROM store.change_steps AS c
JOIN store.action_changes AS a ON a.change_seq = c.change_seq
LEFT JOIN store.change_details AS d ON d.change_seq = c.change_seq
LEFT JOIN store.change_details AS o ON o.change_seq = c.seq_before AND c.operation_before <> 2;

CREATE OR REPLACE VIEW main.evaluations AS
SELECT store.uuid5(store.uuid5(p.id, e.idempotency_key), 'evaluation:' || e.attempt || ':' || CAST(r.id AS VARCHAR))
        AS id,
    store.uuid5(p.id, e.idempotency_key) AS event_id, e.log_seq, e.attempt,
    r.id AS rule_id, r.key AS rule, t.rule_version, t.rule_order, store.evaluation_status_name(t.status) AS status,
    store.evaluation_reason_name(t.reason) AS reason, s.id AS stopped_by_rule_id, s.key AS stopped_by_rule,
    t.status = 1 AND e.outcome = 0 AS applied, CAST(NULL AS VARCHAR) AS error_message,
    store.instant(e.processed_at) AS created_at, b.batch,
    (SELECT list(struct_pack(index := a.action_index, type := store.action_type_name(a.type),
            result := CASE WHEN s.log_seq IS NOT NULL THEN store.action_result_name(s.result)
                WHEN m.entry_seq IS NOT NULL OR c.log_seq IS NOT NULL OR a.type IN (12, 13) THEN 'APPLIED'
                ELSE 'NO_EFFECT' END,
            target_type := store.entity_type_name(n.kind),
            target_id := store.entity_id(n.kind, n.given_id, n.key), target := n.key,
            asset := y.symbol,
            amount := store.units(coalesce(m.amount, nullif(s.amount, -1)), y.unit),
            amount_minor := coalesce(m.amount, nullif(s.amount, -1)),
            value := CASE WHEN a.type = 11 THEN CASE WHEN s.result IS DISTINCT FROM 4 THEN a.key END
                WHEN s.log_seq IS NOT NULL THEN store.result_value(a.type, a.key, s.value_kind, s.value,
                    s.value_high, s.value_scale, s.text)
                WHEN a.type IN (8, 9, 12, 13) THEN a.key
                WHEN a.type = 7 THEN c.added
                WHEN a.type = 10 THEN c.text END,
            entry_seq := m.entry_seq,
            code := CASE s.result WHEN 4 THEN store.outcome_name(e.outcome) END) ORDER BY a.action_index)
        FROM store.actions AS a
        LEFT JOIN store.action_entries AS m ON m.log_seq = e.log_seq AND m.action = a.number AND e.outcome = 0
        LEFT JOIN store.action_values AS c ON c.log_seq = e.log_seq AND c.action = a.number AND e.outcome = 0
        LEFT JOIN store.action_results AS s ON s.log_seq = e.log_seq AND s.attempt = e.attempt AND s.action = a.number
        LEFT JOIN store.entity_list AS n
            ON n.entity = coalesce(store.account_entity(m.account), c.entity, nullif(s.entity, 0))
        LEFT JOIN store.asset_list AS y ON y.number = a.asset
        WHERE a.rule = t.rule AND a.rule_version = t.rule_version AND (t.status <= 2 OR t.reason = 2)
            AND (e.outcome = 0 OR s.log_seq IS NOT NULL)) AS actions
FROM (SELECT log_seq, CAST(1 AS INTEGER) AS attempt, log_seq AS at_log_seq, program, idempotency_key, outcome,
        processed_at, pattern FROM store.events
    UNION ALL
    SELECT n.log_seq, n.attempt, n.by_log_seq, e.program, e.idempotency_key, n.outcome, n.processed_at, n.pattern
    FROM store.attempts AS n JOIN store.events AS e ON e.log_seq = n.log_seq) AS e
JOIN store.program_list AS p ON p.number = e.program
JOIN store.evaluation_patterns AS t USING (pattern)
JOIN store.rule_list AS r ON r.number = t.rule
LEFT JOIN store.rule_list AS s ON s.number = t.stopped_by
LEFT JOIN store.log_batches AS b ON e.at_log_seq BETWEEN b.first_log_seq AND b.last_log_seq;

-- A change's value as JSON text.
CREATE OR REPLACE MACRO store.change_json(operation, state_type, kind, value, high, scale, reset_at, reset_after, text) AS
    CASE WHEN operation IN (2, 4) OR state_type = 1 THEN NULL
        WHEN state_type = 2
            THEN store.counter_json(store.plain_number(store.wide_integer(value, high), scale), reset_at, reset_after)
        WHEN state_type = 3 THEN CAST(to_json(store.cell_text(kind, value, scale, text)) AS VARCHAR)
        WHEN state_type = 11 THEN '0'
        WHEN state_type = 12 THEN '{"redeemed_count":' || value || ',"status":"' || store.reward_status_name(scale)
            || '"}'
        WHEN state_type IN (5, 7) AND kind = 4 THEN CAST(to_json(text) AS VARCHAR)
        WHEN state_type IN (5, 6, 7, 9) THEN '"' || store.status_name(value) || '"'
        WHEN state_type = 8 THEN '{"role":"' || store.role_name(value // 256) || '","status":"'
            || store.member_status_name(value % 256) || '"}'
        WHEN state_type = 10 THEN NULL
        WHEN state_type = 14 THEN '"' || store.automation_status_name(value & 255) || '"'
        WHEN state_type = 15 THEN '"' || store.subscription_status_name(value) || '"'
        ELSE text END;

-- The value of a tier's change (§13.1) by its number.
CREATE OR REPLACE VIEW store.tier_values AS
SELECT c.change_seq, '{"acquired_at":"' || store.instant_text(c.acquired_at)
    || '","downgrade_at":' || coalesce('"' || store.instant_text(c.downgrade_at) || '"', 'null')
    || ',"expires_at":' || coalesce('"' || store.instant_text(c.expires_at) || '"', 'null')
    || ',"level":' || CAST(to_json(n.text) AS VARCHAR)
    || ',"noted_level":' || coalesce(CAST(to_json(q.text) AS VARCHAR), 'null')
    || ',"own_expiry":' || CASE WHEN c.own_expiry THEN 'true' ELSE 'false' END || '}' AS json
FROM store.full_tier_changes AS c JOIN store.names AS n ON n.number = c.value AND c.operation = 1
LEFT JOIN store.names AS q ON q.number = c.noted_level;
-- Statuses of programs in the order in which they came into force: a load that states a new one, an operation. A load
-- comes before the records of its batch (§6.3).
CREATE OR REPLACE VIEW store.program_steps AS
SELECT program, change_seq, status, lag(status) OVER (PARTITION BY program ORDER BY batch, change_seq) AS status_before
FROM (SELECT object AS program, batch, 0 AS change_seq, stated AS status
    FROM (SELECT batch, object, snapshot ->> '$.status' AS stated,
            lag(snapshot ->> '$.status') OVER (PARTITION BY object ORDER BY batch, n) AS stated_before
        FROM store.definitions WHERE kind = 2)
    WHERE stated IS DISTINCT FROM stated_before
    UNION ALL SELECT -c.entity, b.batch, c.change_seq, store.status_name(c.value)
    FROM store.changes AS c JOIN store.change_batches AS b ON c.change_seq BETWEEN b.first_change_seq AND b.last_change_seq
    WHERE c.state_type = 9);

CREATE OR REPLACE VIEW main.changes AS
SELECT c.change_seq, b.batch, store.entity_type_name(n.kind) AS entity_type,
    store.entity_id(n.kind, n.given_id, n.key) AS entity_id, n.key AS entity,
    p.id AS program_id, p.key AS program, store.state_type_name(c.state_type) AS state_type,
    CASE c.state_type WHEN 4 THEN y.key WHEN 5 THEN store.holder_field_name(c.key) WHEN 6 THEN p.key
        WHEN 7 THEN store.holder_field_name(c.key) WHEN 8 THEN m.external_id WHEN 9 THEN 'status' WHEN 10 THEN s.key
        WHEN 11 THEN g.rule || '/' || g.asset WHEN 12 THEN w.key
        WHEN 14 THEN i.key WHEN 15 THEN i.program_key || '/' || i.key
        WHEN 16 THEN store.scheduled_key(store.uuid5(r.namespace, r.name), a.rule_id, a.action_index) ELSE k.text END
        AS key,
    store.change_operation_name(c.operation) AS operation,
    CASE WHEN c.state_type = 9 THEN '"' || q.status_before || '"'
        WHEN c.state_type = 11 THEN store.plain_number(CAST(c.value AS HUGEINT), g.scale)
        WHEN c.state_type = 14 THEN '"' || store.automation_status_name(c.value >> 8) || '"'
        WHEN c.seq_before > 0 THEN store.change_json(c.operation_before, c.state_type, c.kind_before, c.value_before,
        store.high_word(o.value_high, c.value_before), c.scale_before, o.reset_at, o.reset_after,
        coalesce(f.json, o.text)) END
        AS old_value,
    store.change_json(c.operation, c.state_type, c.value_kind, c.value, store.high_word(d.value_high, c.value),
        c.value_scale, d.reset_at, d.reset_after, coalesce(v.json, d.text)) AS new_value,
    CASE r.kind WHEN 1 THEN 'EVENT' WHEN 2 THEN 'OPERATION' ELSE 'DUE' END AS cause,
    coalesce(store.uuid5(r.namespace, r.name), CAST(u.id AS UUID)) AS cause_id, nullif(c.log_seq, 0) AS log_seq,
    CASE r.kind WHEN 1 THEN store.uuid5(r.namespace, r.name) END AS event_id, a.rule_id,
    a.rule_key AS rule, a.action_index, store.instant(coalesce(m.processed_at, r.first_processed_at, t.changed_at)) AS changed_at
FROM store.change_steps AS c
LEFT JOIN store.change_details AS d ON d.change_seq = c.change_seq
LEFT JOIN store.change_details AS o ON o.change_seq = c.seq_before
LEFT JOIN store.record_list AS r ON r.log_seq = c.log_seq
LEFT JOIN store.due_changes AS t ON t.change_seq = c.change_seq
LEFT JOIN store.objects AS u ON u.kind = t.kind AND u.number = t.object
LEFT JOIN store.attempts AS m ON m.log_seq = c.log_seq
    AND c.change_seq BETWEEN m.first_change_seq AND m.last_change_seq
LEFT JOIN store.entity_list AS n ON n.entity = c.entity
LEFT JOIN store.objects AS y ON y.kind = 5 AND y.number = c.key AND c.state_type = 4
LEFT JOIN store.tier_values AS v ON v.change_seq = c.change_seq
LEFT JOIN store.tier_values AS f ON f.change_seq = c.seq_before
LEFT JOIN store.automation_list AS i ON i.number = c.key AND c.state_type IN (14, 15)
LEFT JOIN store.program_list AS p
    ON p.number = CASE c.state_type WHEN 6 THEN c.key WHEN 4 THEN y.program WHEN 15 THEN i.program END
LEFT JOIN store.holders AS m ON m.number = c.key AND c.state_type = 8
LEFT JOIN store.objects AS s ON s.kind = 3 AND s.number = c.key AND c.state_type = 10
LEFT JOIN store.program_steps AS q ON q.change_seq = c.change_seq AND c.state_type = 9
LEFT JOIN store.names AS k ON k.number = c.key AND c.state_type IN (1, 2, 3)
LEFT JOIN store.budget_list AS g ON g.number = c.key AND c.state_type = 11
LEFT JOIN store.objects AS w ON w.kind = 6 AND w.number = c.key AND c.state_type = 12
LEFT JOIN store.action_list AS a ON a.number = c.action
LEFT JOIN store.change_batches AS b ON c.change_seq BETWEEN b.first_change_seq AND b.last_change_seq;

CREATE OR REPLACE VIEW main.redemptions AS
SELECT store.uuid5(store.uuid5(o.namespace, o.name), 'redemption') AS id, store.uuid5(o.namespace, o.name) AS operation_id,
    d.log_seq, store.entity_id(h.kind, h.given_id, h.external_id) AS participant_id, h.external_id, p.id AS program_id,
    p.key AS program, a.id AS asset_id, a.symbol AS asset, store.units(d.amount, a.unit) AS amount,
    d.amount AS amount_minor, w.id AS reward_id, w.key AS reward, d.quantity,
    store.units(d.unit_cost, a.unit) AS unit_cost, d.unit_cost AS unit_cost_minor,
    store.account_type(d.target, n.kind) AS target_type, store.entity_id(n.kind, n.given_id, n.key) AS target_id,
    n.key AS target, store.entry_id(2, store.uuid5(o.namespace, o.name), NULL, NULL, 0) AS entry_id, d.entry_seq,
    store.instant(o.processed_at) AS created_at, b.batch, store.units(coalesce(v.amount, 0), a.unit) AS reversed_amount,
    coalesce(v.amount, 0) AS reversed_amount_minor,
    CASE WHEN d.quantity IS NOT NULL THEN coalesce(v.quantity, 0) END AS reversed_quantity,
    CASE WHEN v.amount IS NULL THEN 'COMPLETED' WHEN v.amount < d.amount THEN 'PARTIALLY_REVERSED'
        ELSE 'FULLY_REVERSED' END AS status
FROM store.redemptions AS d
JOIN store.operation_list AS o ON o.log_seq = d.log_seq
JOIN store.holders AS h ON h.number = d.holder
JOIN store.program_list AS p ON p.number = d.program
JOIN store.asset_list AS a ON a.number = d.asset
LEFT JOIN store.reward_list AS w ON w.number = d.reward
LEFT JOIN store.entity_list AS n ON n.entity = store.account_entity(d.target)
LEFT JOIN (SELECT redemption, CAST(sum(amount) AS BIGINT) AS amount, CAST(sum(quantity) AS BIGINT) AS quantity
    FROM store.reversals GROUP BY redemption) AS v ON v.redemption = d.log_seq
LEFT JOIN store.log_batches AS b ON d.log_seq BETWEEN b.first_log_seq AND b.last_log_seq;

CREATE OR REPLACE VIEW main.reversals AS
SELECT store.uuid5(store.uuid5(o.namespace, o.name), 'reversal') AS id,
    store.uuid5(store.uuid5(q.namespace, q.name), 'redemption') AS redemption_id,
    store.uuid5(o.namespace, o.name) AS operation_id, v.log_seq, v.redemption AS redemption_log_seq,
    store.units(v.amount, a.unit) AS amount, v.amount AS amount_minor, v.quantity, o.fields ->> '$.reason' AS reason,
    store.entry_id(2, store.uuid5(o.namespace, o.name), NULL, NULL, 0) AS entry_id, v.entry_seq,
    store.instant(o.processed_at) AS created_at, b.batch
FROM store.reversals AS v
JOIN store.redemptions AS d ON d.log_seq = v.redemption
JOIN store.operation_list AS o ON o.log_seq = v.log_seq
JOIN store.operation_list AS q ON q.log_seq = v.redemption
JOIN store.asset_list AS a ON a.number = d.asset
LEFT JOIN store.log_batches AS b ON v.log_seq BETWEEN b.first_log_seq AND b.last_log_seq;

CREATE OR REPLACE VIEW main.definitions AS
SELECT store.object_kind_name(d.kind) AS kind, CAST(o.id AS UUID) AS object_id, o.key, d.version,
    store.change_type_name(d.change_type) AS change_type, store.instant(d.changed_at) AS changed_at, d.changes,
    d.snapshot, d.ruleset_version, r.sha256 AS ruleset_sha256, d.batch
FROM store.definitions AS d
JOIN store.objects AS o ON o.kind = d.kind AND o.number = d.object
LEFT JOIN store.rulesets AS r ON r.version = d.ruleset_version AND r.batch > 0
ORDER BY d.batch, d.n;

CREATE OR REPLACE VIEW main.rejects AS
SELECT r.batch, r.n, s.name AS source, r.source_row, store.reject_reason_name(r.reason) AS reason, r.field, r.message,
    store.uuid5(t.namespace, t.name) AS original_id, r.raw
FROM store.rejects AS r
LEFT JOIN store.sources AS s ON s.number = r.source
LEFT JOIN store.record_list AS t ON t.log_seq = r.original_log_seq
ORDER BY r.batch, r.n;

CREATE OR REPLACE VIEW main.streams AS
SELECT stream, part, label, batch, position, "row", complete = 1 AS complete
FROM store.stream_positions ORDER BY stream, label, part;

CREATE OR REPLACE VIEW main.balances AS
SELECT store.account_type(c.account, n.kind) AS entity_type,
    store.entity_id(n.kind, n.given_id, n.key) AS entity_id, n.key AS entity, a.id AS asset_id,
    a.symbol AS asset, store.account_bucket(c.account) AS bucket, store.wide_units(c.amount, a.unit, a.power) AS amount,
    CAST(c.amount AS DECIMAL(38, 0)) AS amount_minor, store.units(coalesce(o.amount, 0), a.unit) AS overdraft,
    coalesce(o.amount, 0) AS overdraft_minor, c.last_entry_seq
FROM (SELECT account, asset, CAST(amount AS DECIMAL(38, 0)) AS amount, last_entry_seq FROM store.current_balances
    UNION ALL SELECT account, asset, amount, last_entry_seq FROM store.current_system_balances) AS c
LEFT JOIN store.entity_list AS n ON n.entity = store.account_entity(c.account)
JOIN store.asset_list AS a ON a.number = c.asset
LEFT JOIN store.current_overdrafts AS o ON o.holder = c.account // 4 AND c.account > 3 AND c.account % 4 = 1
    AND o.asset = c.asset;

CREATE OR REPLACE VIEW main.balance_snapshots AS
SELECT c.batch, store.account_type(c.account, n.kind) AS entity_type,
    store.entity_id(n.kind, n.given_id, n.key) AS entity_id, n.key AS entity,
    a.id AS asset_id, a.symbol AS asset, store.account_bucket(c.account) AS bucket,
    store.wide_units(c.amount, a.unit, a.power) AS amount, c.amount AS amount_minor
FROM (SELECT batch, account, asset, CAST(amount AS DECIMAL(38, 0)) AS amount FROM store.balance_snapshots
    UNION ALL SELECT batch, account, asset, amount FROM store.system_snapshots) AS c
LEFT JOIN store.entity_list AS n ON n.entity = store.account_entity(c.account)
JOIN store.asset_list AS a ON a.number = c.asset;

-- Holders with the time of the record that created them, and their status: ACTIVE unless something else is stored.
CREATE OR REPLACE VIEW store.created_holders AS
SELECT h.number, h.kind, h.external_id, store.entity_id(h.kind, h.given_id, h.external_id) AS id,
    store.status_name(coalesce(s.status, 1)) AS status, store.instant(r.processed_at) AS created_at
FROM store.holders AS h
JOIN (SELECT log_seq, processed_at FROM store.events UNION ALL SELECT log_seq, processed_at FROM store.operations) AS r
    USING (log_seq)
LEFT JOIN store.current_holder_statuses AS s ON s.holder = h.number;

CREATE OR REPLACE VIEW main.participants AS
SELECT h.id, h.number, h.external_id, h.status, p.email, p.phone, p.first_name, p.last_name, p.display_name,
    h.created_at
FROM store.created_holders AS h
LEFT JOIN (SELECT holder, any_value(text) FILTER (WHERE field = 1) AS email,
        any_value(text) FILTER (WHERE field = 2) AS phone, any_value(text) FILTER (WHERE field = 3) AS first_name,
        any_value(text) FILTER (WHERE field = 4) AS last_name, any_value(text) FILTER (WHERE field = 5) AS display_name
    FROM store.current_profiles GROUP BY holder) AS p ON p.holder = h.number
WHERE h.kind = 1;

CREATE OR REPLACE VIEW main.groups AS
SELECT h.id, h.number, h.external_id AS key, p.text AS name, h.status, h.created_at
FROM store.created_holders AS h
LEFT JOIN store.current_profiles AS p ON p.holder = h.number AND p.field = 6
WHERE h.kind = 2;

CREATE OR REPLACE VIEW main.members AS
SELECT store.entity_id(g.kind, g.given_id, g.external_id) AS group_id, g.external_id AS "group",
    store.entity_id(h.kind, h.given_id, h.external_id) AS participant_id, h.external_id,
    store.role_name(m.role) AS role, store.member_status_name(m.status) AS status
FROM store.current_members AS m
JOIN store.holders AS g ON g.number = m.holder
JOIN store.holders AS h ON h.number = m.member;

CREATE OR REPLACE VIEW main.enrollments AS
SELECT store.entity_id(h.kind, h.given_id, h.external_id) AS participant_id, h.external_id, p.id AS program_id, p.key AS program,
    store.status_name(e.status) AS status
FROM store.current_enrollments AS e
JOIN store.holder_list AS h ON h.number = e.holder
JOIN store.program_list AS p ON p.number = e.program;

CREATE OR REPLACE VIEW main.counters AS
SELECT store.entity_type_name(n.kind) AS entity_type,
    store.entity_id(n.kind, n.given_id, n.key) AS entity_id, n.key AS entity, k.text AS key,
    store.plain_number(store.wide_integer(c.low, c.high), c.scale) AS value,
    store.instant(c.reset_at) AS last_reset_at, to_microseconds(c.reset_after) AS reset_after
FROM store.current_counters AS c
JOIN store.entity_list AS n ON n.entity = c.entity
JOIN store.names AS k ON k.number = c.key;

CREATE OR REPLACE VIEW main.tags AS
SELECT store.entity_type_name(n.kind) AS entity_type,
    store.entity_id(n.kind, n.given_id, n.key) AS entity_id, n.key AS entity, k.text AS tag
FROM store.current_tags AS t
JOIN store.entity_list AS n ON n.entity = t.entity
JOIN store.names AS k ON k.number = t.key;

CREATE OR REPLACE VIEW main.attributes AS
SELECT store.entity_type_name(n.kind) AS entity_type,
    store.entity_id(n.kind, n.given_id, n.key) AS entity_id, n.key AS entity, k.text AS key,
    store.cell_text(t.kind, t.value, t.scale, t.text) AS value
FROM store.current_attributes AS t
JOIN store.entity_list AS n ON n.entity = t.entity
JOIN store.names AS k ON k.number = t.key;

-- The newest budget of each rule and asset, unless it has ended.
CREATE OR REPLACE VIEW main.budgets AS
SELECT g.rule_id, g.rule, g.program_id, g.program, g.asset_id, g.asset,
    nullif(split_part(g.schedule, ' ', 1), '') AS schedule_type,
    CASE WHEN g.schedule LIKE 'CRON %' THEN g.schedule[6:] END AS cron_expression,
    CASE WHEN g.schedule LIKE 'INTERVAL %' THEN g.schedule[10:] END AS interval,
    store.units(t.limit_minor, g.unit) AS "limit", t.limit_minor,
    store.units(c.consumed, g.unit) AS consumed, c.consumed AS consumed_minor,
    store.units(t.limit_minor - c.consumed, g.unit) AS remaining, t.limit_minor - c.consumed AS remaining_minor,
    store.instant(t.next_reset_at) AS next_reset_at, store.instant(g.started_at) AS started_at
FROM store.budget_list AS g
JOIN (SELECT max(number) AS number FROM store.budget_starts GROUP BY rule, asset) AS newest USING (number)
JOIN store.current_budgets AS c ON c.budget = g.number
JOIN (SELECT budget, arg_max(struct_pack(limit_minor, next_reset_at), batch) AS last FROM store.budget_terms
    GROUP BY budget) AS l ON l.budget = g.number
CROSS JOIN LATERAL (SELECT l.last.limit_minor AS limit_minor, l.last.next_reset_at AS next_reset_at) AS t
WHERE g.schedule <> '-';

-- The rank of every level, as the newest version of its tier type has it.
CREATE OR REPLACE VIEW store.level_list AS
SELECT tier, level ->> '$.key' AS level, CAST(level ->> '$.rank' AS INTEGER) AS rank
FROM (SELECT tier, unnest(CAST(snapshot -> '$.levels' AS JSON[])) AS level
    FROM (SELECT object AS tier, arg_max(snapshot, version) AS snapshot FROM store.definitions WHERE kind = 5
        GROUP BY object));

CREATE OR REPLACE VIEW main.tiers AS
SELECT store.entity_id(h.kind, h.given_id, h.external_id) AS participant_id, h.external_id, p.id AS program_id,
    p.key AS program, o.key AS tier, k.text AS level, l.rank, store.instant(t.acquired_at) AS acquired_at,
    store.instant(t.expires_at) AS expires_at, t.own_expiry, store.instant(t.downgrade_at) AS downgrade_at,
    q.text AS noted_level
FROM store.current_tiers AS t
JOIN store.holder_list AS h ON h.number = t.holder
JOIN store.objects AS o ON o.kind = 5 AND o.number = t.tier
JOIN store.program_list AS p ON p.number = o.program
JOIN store.names AS k ON k.number = t.level
LEFT JOIN store.names AS q ON q.number = t.noted_level
LEFT JOIN store.level_list AS l ON l.tier = t.tier AND l.level = k.text;

CREATE OR REPLACE VIEW main.assets AS
SELECT id, number, symbol, scale, store.inventory_mode_name(inventory_mode) AS inventory_mode,
    store.issuance_policy_name(issuance_policy) AS issuance_policy
FROM store.asset_list ORDER BY number;

CREATE OR REPLACE VIEW main.programs AS
SELECT p.id, p.number, p.key, store.status_name(s.status) AS status
FROM store.program_list AS p LEFT JOIN store.current_program_statuses AS s ON s.program = p.number ORDER BY p.number;

CREATE OR REPLACE VIEW main.asset_links AS
SELECT p.id AS program_id, p.key AS program, a.id AS asset_id, a.symbol AS asset
FROM store.current_asset_links AS l
JOIN store.program_list AS p ON p.number = l.program
JOIN store.asset_list AS a ON a.number = l.asset;

CREATE OR REPLACE VIEW main.rules AS
SELECT r.id, r.number, r.key, p.id AS program_id, p.key AS program
FROM store.rule_list AS r JOIN store.program_list AS p ON p.number = r.program ORDER BY r.number;

-- Rewards as they are defined now, with what their counts make of it. The cost is read as text: a JSON number may have
-- more digits than a double.
CREATE OR REPLACE VIEW main.rewards AS
SELECT r.id, r.number, r.key, r.name, p.id AS program_id, p.key AS program,
    CASE WHEN r.stated = 'ACTIVE' AND r.redeemed_count >= r.max_total THEN 'OUT_OF_STOCK' ELSE r.stated END AS status,
    r.redemption_type, a.id AS asset_id, a.symbol AS asset, r.unit_cost,
    CAST(r.unit_cost * a.power AS BIGINT) AS unit_cost_minor, r.max_total, r.max_per_participant, r.redeemed_count,
    r.available_from, r.available_until
FROM (SELECT w.id, w.number, w.key, w.program, w.snapshot ->> '$.name' AS name, w.snapshot ->> '$.status' AS stated,
        w.snapshot ->> '$.redemption_type' AS redemption_type, w.snapshot ->> '$.asset_id' AS asset,
        CAST(regexp_extract(w.snapshot, '.*"unit_cost":([0-9.]+)', 1) AS DECIMAL(19, {scale})) AS unit_cost,
        CAST(w.snapshot ->> '$.max_total' AS BIGINT) AS max_total,
        CAST(w.snapshot ->> '$.max_per_participant' AS BIGINT) AS max_per_participant,
        CAST(w.snapshot ->> '$.available_from' AS TIMESTAMP) AS available_from,
        CAST(w.snapshot ->> '$.available_until' AS TIMESTAMP) AS available_until,
        coalesce(c.redeemed_count, 0) AS redeemed_count
    FROM store.reward_list AS w
    LEFT JOIN store.current_reward_counts AS c ON c.reward = w.number AND c.holder = 0) AS r
JOIN store.program_list AS p ON p.number = r.program
LEFT JOIN store.asset_list AS a ON a.symbol = r.asset
ORDER BY r.number;

-- Automations as they stand: a one_time that fired or was cancelled is archived, whatever its definition says (§17.1).
CREATE OR REPLACE VIEW main.automations AS
SELECT a.id, a.number, a.key, a.program_id, a.program_key AS program, store.automation_status_name(c.status) AS status,
    store.instant(c.next_at) AS next_at
FROM store.automation_list AS a JOIN store.current_automations AS c ON c.automation = a.number ORDER BY a.number;

-- While an automation does not fire, its subscriptions stay as they were and have nothing to come (§17.4).
CREATE OR REPLACE VIEW main.subscriptions AS
SELECT store.entity_id(h.kind, h.given_id, h.external_id) AS participant_id, h.external_id, a.program_id,
    a.program_key AS program, a.id AS automation_id, a.key AS automation,
    store.subscription_status_name(s.status) AS status, store.instant(s.subscribed_at) AS subscribed_at,
    store.instant(CASE WHEN c.is_live AND c.was_refreshed THEN s.next_at END) AS next_at
FROM store.current_subscriptions AS s
JOIN store.current_automations AS c ON c.automation = s.automation
JOIN store.automation_list AS a ON a.number = s.automation
JOIN store.holder_list AS h ON h.number = s.holder;

CREATE OR REPLACE VIEW main.participant_balances AS
SELECT h.external_id, store.entity_id(h.kind, h.given_id, h.external_id) AS participant_id, a.symbol AS asset,
    store.units(c.available, a.unit) AS available, store.units(c.held, a.unit) AS held,
    store.units(c.deferred, a.unit) AS deferred, c.available AS available_minor, c.held AS held_minor,
    c.deferred AS deferred_minor
FROM (SELECT account // 4 AS holder, asset,
        CAST(coalesce(sum(amount) FILTER (WHERE account % 4 = 1), 0) AS BIGINT) AS available,
        CAST(coalesce(sum(amount) FILTER (WHERE account % 4 = 2), 0) AS BIGINT) AS held,
        CAST(coalesce(sum(amount) FILTER (WHERE account % 4 = 3), 0) AS BIGINT) AS deferred
    FROM store.current_balances WHERE account > 3 GROUP BY ALL) AS c
JOIN store.holder_list AS h ON h.number = c.holder AND h.kind = 1
JOIN store.asset_list AS a ON a.number = c.asset;

-- Events that SCHEDULE_EVENT has made and that are not due yet (§17.5).
CREATE OR REPLACE VIEW main.schedule AS
SELECT store.scheduled_key(store.uuid5(p.id, e.idempotency_key), a.rule_id, a.action_index) AS idempotency_key,
    p.id AS program_id, p.key AS program, store.entity_id(h.kind, h.given_id, h.external_id) AS participant_id,
    h.external_id, store.instant(s.due_at) AS event_timestamp, a.key AS event_name, s.generation,
    store.uuid5(p.id, e.idempotency_key) AS parent_event_id, s.parent AS parent_log_seq, a.rule_id,
    a.rule_key AS rule, a.rule_version, a.action_index
FROM store.current_schedule AS s
JOIN store.events AS e ON e.log_seq = s.parent
JOIN store.program_list AS p ON p.number = e.program
JOIN store.holder_list AS h ON h.number = s.holder
JOIN store.action_list AS a ON a.number = s.action
ORDER BY s.due_at, s.parent, s.position;

CREATE OR REPLACE VIEW main.event_status AS
SELECT e.log_seq, store.uuid5(p.id, e.idempotency_key) AS id, p.key AS program, e.idempotency_key, h.external_id,
    store.instant(e.event_timestamp) AS event_timestamp,
    store.instant(coalesce(t.processed_at, e.processed_at)) AS processed_at,
    CASE WHEN coalesce(t.outcome, e.outcome) > 0 THEN 'FAILED' ELSE 'COMPLETED' END AS status,
    store.outcome_name(coalesce(t.outcome, e.outcome)) AS code, coalesce(t.attempt, 1) AS attempts,
    a.rule_key AS failed_rule, a.action_index AS failed_action, e.late
FROM store.events AS e
JOIN store.program_list AS p ON p.number = e.program
LEFT JOIN store.last_attempts AS t ON t.log_seq = e.log_seq
LEFT JOIN store.holders AS h ON h.number = coalesce(t.holder, e.holder)
LEFT JOIN store.action_list AS a ON a.number = coalesce(t.action, e.action);

CREATE OR REPLACE VIEW main.rule_issuance AS
SELECT p.key AS program, r.key AS rule, a.symbol AS asset, m.credits, store.wide_units(m.amount, a.unit, a.power) AS issued,
    m.amount AS issued_minor
FROM (SELECT c.rule, m.asset, count(*) FILTER (WHERE m.entry_type = 1 OR m.debit > 3 AND m.credit > 3) AS credits,
        CAST(coalesce(sum(m.amount) FILTER (WHERE m.debit <= 3), 0) AS DECIMAL(38, 0)) AS amount
    FROM store.movements AS m JOIN store.actions AS c ON c.number = m.action WHERE m.entry_type IN (1, 7) GROUP BY ALL)
    AS m
JOIN store.rule_list AS r ON r.number = m.rule
JOIN store.program_list AS p ON p.number = r.program
JOIN store.asset_list AS a ON a.number = m.asset;
