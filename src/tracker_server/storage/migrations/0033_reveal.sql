-- What is shown of blocked time that nobody paid for (billing.reveal). The stretches are noted as a block is lifted; the views
-- leave out what was recorded in them. Where the operator shows it all, none is looked at.

ALTER TABLE core.gate ADD COLUMN reveal text NOT NULL DEFAULT 'all';

CREATE TABLE core.unpaid (
    device_id    bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    hidden_from  timestamptz NOT NULL,
    hidden_until timestamptz NOT NULL, -- not hidden itself
    due_minor    bigint NOT NULL CHECK (due_minor >= 0), -- the shares of its dates, where they may be paid after the event
    PRIMARY KEY (device_id, hidden_from),
    CHECK (hidden_from < hidden_until)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.unpaid TO tracker_core;

-- Of each tracker: from when on the gate hides it, and which stretches it leaves out for ever or until they are paid.
CREATE VIEW core.shown AS
    SELECT d.id AS device_id,
           coalesce((SELECT min(h.hides_from) FROM core.hidden h WHERE h.device_id = d.id), 'infinity') AS hides_from,
           (SELECT range_agg(tstzrange(u.hidden_from, u.hidden_until)) FROM core.unpaid u
            WHERE u.device_id = d.id AND (SELECT reveal FROM core.gate) <> 'all') AS unpaid
    FROM core.devices d;
GRANT SELECT ON core.shown TO tracker_core;

CREATE OR REPLACE VIEW display.positions WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes, p.digest, p.network
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.positions p ON p.device_id = d.id AND p.fixed_at >= y.shown_from AND p.received_at < g.hides_from
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND (g.unpaid IS NULL OR NOT g.unpaid @> p.fixed_at)
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since));

CREATE OR REPLACE VIEW display.latest WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes,
           s.odometer_mm + d.odometer_offset_mm AS odometer_mm, s.moving, s.fence_ids, p.network,
           s.engine_us + d.engine_offset_us AS engine_us
    FROM core.devices d
    JOIN core.device_state s ON s.device_id = d.id
    CROSS JOIN LATERAL (SELECT o.unpaid FROM core.shown o WHERE o.device_id = d.id OFFSET 0) g
    JOIN core.positions p ON p.device_id = d.id AND p.fixed_at = s.latest_fixed_at AND p.digest = s.latest_digest
    WHERE d.removed_at IS NULL AND (g.unpaid IS NULL OR NOT g.unpaid @> p.fixed_at)
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

CREATE OR REPLACE VIEW display.telemetry WITH (security_barrier) AS
    SELECT t.device_id, d.unique_id, d.account_id, t.sent_at, t.received_at, t.kind, t.protocol, t.attributes
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.telemetry t ON t.device_id = d.id AND t.sent_at >= y.shown_from AND t.received_at < g.hides_from
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND (g.unpaid IS NULL OR NOT g.unpaid @> t.sent_at)
      AND (d.owned_since IS NULL OR (t.sent_at >= d.owned_since AND t.received_at >= d.owned_since));

CREATE OR REPLACE VIEW display.events WITH (security_barrier) AS
    SELECT e.id, e.device_id, d.unique_id, d.account_id, e.type, e.occurred_at, e.attributes,
           e.superseded AND coalesce(e.superseded_at < least(g.hides_from, o.hides_from), true) AS superseded,
           e.decided_at, e.stored_at, e.digest, e.fence_id, f.name AS fence, e.latitude, e.longitude, o.ids AS other_ids
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.events e ON e.device_id = d.id AND e.occurred_at >= y.shown_from AND e.stored_at < g.hides_from
    LEFT JOIN core.fences f ON f.id = e.fence_id
    LEFT JOIN LATERAL (
        SELECT array_agg(n.id) AS ids, min(s.hides_from) AS hides_from, bool_or(s.unpaid @> e.occurred_at) AS unpaid
        FROM (
            SELECT (e.attributes->>'other_id')::bigint AS id WHERE e.attributes ? 'other_id'
            UNION ALL SELECT jsonb_array_elements_text(e.attributes->'companion_ids')::bigint
        ) n LEFT JOIN core.shown s ON s.device_id = n.id
    ) o ON e.type IN ('proximityEnter', 'proximityExit', 'unaccompaniedMotion')
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND (o.hides_from IS NULL OR e.stored_at < o.hides_from)
      AND (g.unpaid IS NULL OR NOT g.unpaid @> e.occurred_at) AND o.unpaid IS NOT TRUE
      AND (d.owned_since IS NULL OR e.occurred_at >= d.owned_since);

-- Of an interval that reaches into unpaid time nothing is shown: its length and its ends would tell.
CREATE OR REPLACE VIEW display.trips WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.start_latitude, t.start_longitude, t.start_digest, t.end_latitude, t.end_longitude, t.end_digest,
           t.distance_mm, t.odometer_start_mm + d.odometer_offset_mm AS odometer_start_mm, t.speed_max_mps, t.fuel_start,
           t.fuel_end, t.driver_unique_id, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.trips t ON t.device_id = d.id AND (t.ended_at IS NULL OR t.ended_at >= y.shown_from)
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND t.stored_at < g.hides_from
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND (g.unpaid IS NULL OR NOT g.unpaid && tstzrange(t.started_at, t.ended_at, '[]'))
      AND (t.superseded_at IS NULL OR g.hides_from <= t.superseded_at);

CREATE OR REPLACE VIEW display.stops WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.latitude, t.longitude, t.digest, t.engine_us, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.stops t ON t.device_id = d.id AND (t.ended_at IS NULL OR t.ended_at >= y.shown_from)
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND t.stored_at < g.hides_from
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND (g.unpaid IS NULL OR NOT g.unpaid && tstzrange(t.started_at, t.ended_at, '[]'))
      AND (t.superseded_at IS NULL OR g.hides_from <= t.superseded_at);

CREATE OR REPLACE VIEW display.visits WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.fence_id, f.name AS fence, t.entered_at,
           coalesce(t.left_at, CASE WHEN f.until <= now() THEN greatest(f.until, t.entered_at) END) AS left_at,
           t.decided_at, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.visits t ON t.device_id = d.id AND (t.left_at IS NULL OR t.left_at >= y.shown_from)
    JOIN core.fences f ON f.id = t.fence_id
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND t.stored_at < g.hides_from
      AND (d.owned_since IS NULL OR t.entered_at >= d.owned_since)
      AND (g.unpaid IS NULL OR NOT g.unpaid && tstzrange(t.entered_at, t.left_at, '[]'))
      AND (t.superseded_at IS NULL OR g.hides_from <= t.superseded_at);

CREATE OR REPLACE VIEW display.alerts WITH (security_barrier) AS
    SELECT o.id, o.account_id, o.device_id, d.unique_id, o.rule_id, o.event_id, o.event_at, o.event_type, o.channel,
           o.recipient, o.attempts, o.error, o.created_at, o.due_at, o.delivered_at, o.failed_at, o.withheld_at,
           o.withheld, o.receipt, o.receipt_at, o.body, o.payload, o.other_ids
    FROM core.devices d JOIN core.outbox o ON o.device_id = d.id
    WHERE o.event_id IS NOT NULL AND d.removed_at IS NULL AND o.account_id = d.account_id
      AND NOT EXISTS (
          SELECT FROM core.shown s
          WHERE (s.device_id = d.id OR s.device_id = ANY(o.other_ids))
            AND (s.hides_from <= o.created_at OR s.unpaid @> o.event_at)
      );

CREATE OR REPLACE VIEW display.commands WITH (security_barrier) AS
    SELECT q.id, q.device_id, d.unique_id, d.account_id, q.type, q.attributes, q.created_by, q.created_at, q.expires_at,
           q.sent_at, q.answered_at, q.result, q.failed_at, q.error
    FROM core.devices d
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.command_queue q ON q.device_id = d.id
    WHERE d.removed_at IS NULL AND g.hides_from > greatest(q.created_at, q.sent_at, q.answered_at)
      AND (g.unpaid IS NULL OR NOT g.unpaid @> greatest(q.created_at, q.sent_at, q.answered_at));

-- The owner is told what the hidden time would cost, where it can be paid for.
CREATE OR REPLACE VIEW display.management WITH (security_barrier) AS
    SELECT m.device_id, d.unique_id, d.account_id, d.name, d.priority, d.test, m.state, m.reason, m.note, m.since,
           m.due_minor, a.currency, date_trunc('hour', s.contact_at, 'UTC') AS last_contact, m.waiting, g.purge_at,
           (SELECT sum(u.due_minor)::bigint FROM core.unpaid u
            WHERE u.device_id = d.id AND (SELECT reveal FROM core.gate) = 'back_pay') AS back_pay_minor
    FROM core.management m
    JOIN core.devices d ON d.id = m.device_id
    JOIN core.accounts a ON a.id = d.account_id
    JOIN core.device_state s ON s.device_id = d.id
    LEFT JOIN core.purges g ON g.device_id = d.id AND m.state = 'blocked';
