-- The outbox (§22): rows of integers become notifications with ids and bodies. A body is put together as text, member
-- by member, so that its bytes are the same wherever it is rendered; `concat_ws` leaves out members without a value.
CREATE OR REPLACE MACRO store.json_text(value) AS CAST(to_json(value) AS VARCHAR);
CREATE OR REPLACE MACRO store.json_member(name, value) AS '"' || name || '":' || store.json_text(value);
CREATE OR REPLACE MACRO store.json_id(name, id) AS '"' || name || '":"' || CAST(id AS VARCHAR) || '"';
CREATE OR REPLACE MACRO store.json_instant(name, microseconds) AS
    '"' || name || '":"' || store.instant_text(microseconds) || '"';

-- Minor units with exactly the decimals of the asset (§5.3).
CREATE OR REPLACE MACRO store.amount_digits(digits, scale) AS
    digits[1:length(digits) - scale] || CASE WHEN scale = 0 THEN '' ELSE '.' || right(digits, scale) END;
CREATE OR REPLACE MACRO store.amount_text(minor, scale) AS
    CASE WHEN minor < 0 THEN '-' ELSE '' END
    || store.amount_digits(lpad(CAST(abs(CAST(minor AS HUGEINT)) AS VARCHAR), CAST(greatest(scale + 1,
        length(CAST(abs(CAST(minor AS HUGEINT)) AS VARCHAR))) AS INTEGER), '0'), CAST(scale AS BIGINT));
CREATE OR REPLACE MACRO store.json_amount(name, minor, scale) AS
    '"' || name || '":"' || store.amount_text(minor, scale) || '"';

-- Whose account it is: participant, group or program.
CREATE OR REPLACE MACRO store.json_owner(kind, id) AS
    store.json_id(CASE kind WHEN 1 THEN 'participant_id' WHEN 2 THEN 'group_id' ELSE 'program_id' END, id);

CREATE OR REPLACE VIEW store.settled_amounts AS
SELECT entry_seq, CAST(sum(amount) AS BIGINT) AS held FROM store.movements
WHERE entry_type = 7 AND debit > 3 AND debit % 4 = 2 GROUP BY entry_seq;

CREATE OR REPLACE VIEW store.transfer_recipients AS
SELECT m.entry_seq, '[' || string_agg('{' || store.json_owner(n.kind, store.entity_id(n.kind, n.given_id, n.key)) || ','
    || store.json_amount('amount', m.amount, a.scale) || '}', ',' ORDER BY m.rowid) || ']' AS recipients
FROM store.movements AS m
JOIN store.entity_list AS n ON n.entity = store.account_entity(m.credit)
JOIN store.asset_list AS a ON a.number = m.asset
WHERE m.entry_type = 12 GROUP BY m.entry_seq;

-- What an entry announces. `part` is what makes one notification of a cause differ from the next of its type.
CREATE OR REPLACE VIEW store.entry_notifications AS
SELECT o.n, o.batch, o.type, o.created_at, e.cause_id AS record_id, e.id AS cause, 0 AS part,
    concat_ws(',',
        CASE WHEN o.type = 7 THEN store.json_id('reversal_id', store.uuid5(e.cause_id, 'reversal')) END,
        CASE WHEN o.type IN (6, 7) THEN store.json_id('redemption_id', e.redemption_id) END,
        store.json_owner(n.kind, store.entity_id(n.kind, n.given_id, n.key)),
        CASE WHEN o.type IN (6, 7, 8) THEN store.json_id('program_id', p.id) END,
        store.json_member('asset', a.symbol),
        store.json_amount('amount', e.amount, a.scale),
        CASE WHEN o.type NOT IN (6, 7, 8, 9, 10) THEN '"bucket":"' || store.account_bucket(o.account) || '"' END,
        store.json_amount('balance_after', o.balance, a.scale),
        CASE WHEN s.held IS NOT NULL THEN '"settle":{' || store.json_amount('held_amount', s.held, a.scale) || ','
            || store.json_amount('delta', e.amount - s.held, a.scale) || '}' END,
        CASE WHEN o.type = 8 THEN '"recipients":' || t.recipients END,
        store.json_id('reward_id', w.id),
        '"quantity":' || coalesce(d.quantity, v.quantity),
        store.json_amount('unit_cost', d.unit_cost, a.scale),
        '"target_type":"' || store.account_type(d.target, g.kind) || '"',
        store.json_id('target_id', store.entity_id(g.kind, g.given_id, g.key)),
        CASE WHEN o.type = 7 THEN store.json_member('reason', e.description) END,
        store.json_id('entry_id', e.id),
        store.json_id('event_id', e.event_id),
        store.json_member('reference_id', e.reference)) AS data
FROM store.outbox AS o
JOIN store.entry_list AS e ON e.entry_seq = o.number
JOIN store.asset_list AS a ON a.number = e.asset
JOIN store.entity_list AS n ON n.entity = store.account_entity(o.account)
LEFT JOIN store.program_list AS p ON p.number = e.program
LEFT JOIN store.settled_amounts AS s ON s.entry_seq = o.number
LEFT JOIN store.transfer_recipients AS t ON t.entry_seq = o.number
LEFT JOIN store.redemptions AS d ON d.entry_seq = o.number
LEFT JOIN store.reversals AS v ON v.entry_seq = o.number
LEFT JOIN store.reward_list AS w ON w.number = d.reward
LEFT JOIN store.entity_list AS g ON g.entity = store.account_entity(d.target)
WHERE o.type NOT IN (11, 12, 13, 14);

CREATE OR REPLACE VIEW store.participant_notifications AS
SELECT o.n, o.batch, o.type, o.created_at, store.uuid5(r.namespace, r.name) AS record_id,
    store.entity_id(h.kind, h.given_id, h.external_id) AS cause, 0 AS part,
    concat_ws(',',
        store.json_id('participant_id', store.entity_id(h.kind, h.given_id, h.external_id)),
        store.json_member('external_id', h.external_id),
        store.json_id('program_id', p.id)) AS data
FROM store.outbox AS o
JOIN store.holders AS h ON h.number = o.number
JOIN store.record_list AS r ON r.log_seq = h.log_seq
LEFT JOIN (SELECT entity, log_seq, arg_min(key, change_seq) AS program FROM store.changes WHERE state_type = 6
    GROUP BY entity, log_seq) AS c ON c.entity = h.number AND c.log_seq = h.log_seq
LEFT JOIN store.program_list AS p ON p.number = c.program
WHERE o.type = 13;

-- A change has no id: its participant's stands for it, and its number makes one differ from the next.
CREATE OR REPLACE VIEW store.tier_notifications AS
SELECT o.n, o.batch, o.type, o.created_at, coalesce(store.uuid5(r.namespace, r.name), CAST(u.id AS UUID)) AS record_id,
    store.entity_id(h.kind, h.given_id, h.external_id) AS cause, o.number AS part,
    concat_ws(',',
        store.json_id('participant_id', store.entity_id(h.kind, h.given_id, h.external_id)),
        store.json_id('program_id', p.id),
        store.json_member('tier', y.key),
        '"level":' || coalesce(store.json_text(k.text), 'null'),
        '"previous_level":' || coalesce(store.json_text(b.text), 'null'),
        store.json_instant('acquired_at', c.acquired_at),
        store.json_instant('expires_at', c.expires_at),
        CASE r.kind WHEN 1 THEN store.json_id('event_id', store.uuid5(r.namespace, r.name)) END) AS data
FROM store.outbox AS o
JOIN (SELECT change_seq, log_seq, entity, key, operation, value, acquired_at, expires_at,
        lag(CASE operation WHEN 1 THEN value END) OVER (PARTITION BY entity, key ORDER BY change_seq) AS value_before
    FROM store.full_tier_changes) AS c ON c.change_seq = o.number
JOIN store.holders AS h ON h.number = c.entity
JOIN store.objects AS y ON y.kind = 5 AND y.number = c.key
JOIN store.program_list AS p ON p.number = y.program
LEFT JOIN store.names AS k ON k.number = c.value AND c.operation = 1
LEFT JOIN store.names AS b ON b.number = c.value_before
LEFT JOIN store.record_list AS r ON r.log_seq = c.log_seq
LEFT JOIN store.due_changes AS t ON t.change_seq = c.change_seq
LEFT JOIN store.objects AS u ON u.kind = t.kind AND u.number = t.object
WHERE o.type = 14;

CREATE OR REPLACE VIEW store.event_notifications AS
SELECT o.n, o.batch, o.type, o.created_at, store.uuid5(p.id, e.idempotency_key) AS record_id,
    store.uuid5(p.id, e.idempotency_key) AS cause, o.attempt - 1 AS part,
    concat_ws(',',
        store.json_id('event_id', store.uuid5(p.id, e.idempotency_key)),
        store.json_id('program_id', p.id),
        store.json_member('idempotency_key', e.idempotency_key),
        CASE WHEN g.log_seq IS NULL THEN '"event_type":"EXTERNAL"' ELSE '"event_type":"SYSTEM"' END,
        store.json_instant('event_timestamp', e.event_timestamp),
        store.json_id('participant_id', store.entity_id(h.kind, h.given_id, h.external_id)),
        store.json_id('recipient_id', store.entity_id(i.kind, i.given_id, i.external_id)),
        CASE o.type WHEN 11 THEN '"status":"COMPLETED"' ELSE '"status":"FAILED"' END,
        CASE o.type WHEN 12 THEN '"code":"' || store.outcome_name(coalesce(t.outcome, e.outcome)) || '"' END,
        store.json_id('rule_id', a.rule_id),
        '"action_index":' || a.action_index,
        '"attempt":' || o.attempt) AS data
FROM store.outbox AS o
JOIN store.events AS e ON e.log_seq = o.number
JOIN store.program_list AS p ON p.number = e.program
LEFT JOIN store.attempts AS t ON t.log_seq = o.number AND t.attempt = o.attempt
LEFT JOIN store.generated_events AS g ON g.log_seq = o.number
LEFT JOIN store.holders AS h ON h.number = coalesce(t.holder, e.holder)
LEFT JOIN store.holders AS i ON i.number = coalesce(t.recipient, e.recipient)
LEFT JOIN store.action_list AS a ON a.number = coalesce(t.action, e.action)
WHERE o.type IN (11, 12);

CREATE OR REPLACE VIEW main.outbox AS
SELECT n, id, type, record_id,
    '{"id":"' || CAST(id AS VARCHAR) || '","type":"' || type || '","api_version":"2026-03-01",'
    || store.json_instant('created_at', created_at) || ','
    || store.json_id('organization_id', (SELECT id FROM store.objects WHERE kind = 1)) || ',"data":{' || data || '}}'
    AS body,
    store.instant(created_at) AS created_at, batch
FROM (SELECT n, store.uuid5(cause, 'webhook:' || store.notification_type_name(type) || ':' || part) AS id,
        store.notification_type_name(type) AS type, record_id, data, created_at, batch
    FROM (SELECT * FROM store.entry_notifications UNION ALL SELECT * FROM store.participant_notifications
        UNION ALL SELECT * FROM store.tier_notifications UNION ALL SELECT * FROM store.event_notifications));
