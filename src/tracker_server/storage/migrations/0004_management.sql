-- What an owner is told of a blocked tracker (the management row), how far back a block hides, and one test
-- tracker for an account.

-- The operator's choice, written when the server starts. Where the row is missing, everything is hidden.
CREATE TABLE core.gate (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    hide_history boolean NOT NULL DEFAULT true
);
INSERT INTO core.gate DEFAULT VALUES;

-- What lifts the block, in minor units of the account's currency; null: money does not.
ALTER TABLE core.blocks ADD COLUMN due_minor bigint CHECK (due_minor >= 0);

-- A second test tracker would be shown and never charged. Of several, the oldest stays one.
UPDATE core.devices d SET test = false
WHERE d.test AND d.removed_at IS NULL AND EXISTS (
    SELECT FROM core.devices o
    WHERE o.account_id = d.account_id AND o.test AND o.removed_at IS NULL AND o.id < d.id
);
CREATE UNIQUE INDEX devices_test ON core.devices (account_id) WHERE test AND removed_at IS NULL;

-- What is hidden right now, and of it what was received from hides_from on. The one place that decides how far
-- back a block reaches: the operator's own hold always hides all.
CREATE OR REPLACE VIEW core.hidden AS
    SELECT b.device_id,
           CASE WHEN b.reason <> 'hold' AND NOT coalesce((SELECT hide_history FROM core.gate), true)
                THEN b.since ELSE '-infinity' END AS hides_from
    FROM core.blocks b
    WHERE b.since <= now() AND (b.until IS NULL OR now() < b.until);

-- Each view asks twice: whether all is hidden, before a single row is read, so that neither the time that it takes nor
-- the work tells how much there is; and row by row, where what was received before the block stays.
CREATE OR REPLACE VIEW display.positions WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes
    FROM core.devices d JOIN core.positions p ON p.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= p.received_at);

CREATE OR REPLACE VIEW display.telemetry WITH (security_barrier) AS
    SELECT t.device_id, d.unique_id, d.account_id, t.sent_at, t.received_at, t.kind, t.protocol, t.attributes
    FROM core.devices d JOIN core.telemetry t ON t.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (t.sent_at >= d.owned_since AND t.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.received_at);

-- An event counts as received when it was found: what a late fix changed is hidden with the fix.
CREATE OR REPLACE VIEW display.events WITH (security_barrier) AS
    SELECT e.id, e.device_id, d.unique_id, d.account_id, e.type, e.occurred_at, e.attributes, e.superseded
    FROM core.devices d JOIN core.events e ON e.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR e.occurred_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= e.stored_at);

-- The management row: why a tracker is not shown, what would lift that, and that it is alive. Never where it is.
-- waiting counts the fixes received since the block began; of those that a device had kept, up to 31 days of them.
CREATE VIEW core.management AS
    SELECT d.id AS device_id, coalesce(b.state, 'active') AS state, b.reason, b.note, b.since, b.due_minor,
           CASE WHEN b.since IS NOT NULL THEN (
               SELECT count(*) FROM core.positions p
               WHERE p.device_id = d.id AND p.fixed_at >= b.since - interval '31 days' AND p.received_at >= b.since
                 AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
           ) END AS waiting
    FROM core.devices d
    LEFT JOIN LATERAL (
        SELECT CASE WHEN bool_and(reason = 'suspension') THEN 'suspended' ELSE 'blocked' END AS state,
               string_agg(CASE reason WHEN 'billing' THEN coalesce(nullif(note, ''), reason)
                                      WHEN 'suspension' THEN 'suspended' ELSE reason END,
                          ', ' ORDER BY since, reason) AS reason,
               string_agg(nullif(note, ''), '; ') FILTER (WHERE reason = 'hold') AS note,
               min(since) AS since, sum(due_minor)::bigint AS due_minor
        FROM core.blocks
        WHERE device_id = d.id AND since <= now() AND (until IS NULL OR now() < until)
        HAVING count(*) > 0
    ) b ON true
    WHERE d.removed_at IS NULL;

CREATE VIEW display.management WITH (security_barrier) AS
    SELECT m.device_id, d.unique_id, d.account_id, d.name, d.priority, d.test, m.state, m.reason, m.note, m.since,
           m.due_minor, a.currency, date_trunc('hour', s.contact_at, 'UTC') AS last_contact, m.waiting
    FROM core.management m
    JOIN core.devices d ON d.id = m.device_id
    JOIN core.accounts a ON a.id = d.account_id
    JOIN core.device_state s ON s.device_id = d.id;

GRANT SELECT, UPDATE ON core.gate TO tracker_core;
GRANT SELECT ON core.management, display.management TO tracker_core;
GRANT SELECT ON display.management TO tracker_display;
