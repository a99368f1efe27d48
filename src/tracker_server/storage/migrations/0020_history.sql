-- How far back a customer sees is the tariff's to say (history_days, in days of the account's own), and the views keep it.
-- Nothing is deleted by it: a tariff with more days shows them again.

CREATE VIEW core.history AS
    SELECT a.id AS account_id,
           coalesce((date_trunc('day', now() AT TIME ZONE a.zone) - make_interval(days => t.history_days)) AT TIME ZONE a.zone,
                    '-infinity') AS shown_from
    FROM core.accounts a JOIN core.tariffs t ON t.id = a.tariff_id;
GRANT SELECT ON core.history TO tracker_core;

CREATE OR REPLACE VIEW display.positions WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes, p.digest, p.network
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    JOIN core.positions p ON p.device_id = d.id AND p.fixed_at >= y.shown_from
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= p.received_at);

CREATE OR REPLACE VIEW display.telemetry WITH (security_barrier) AS
    SELECT t.device_id, d.unique_id, d.account_id, t.sent_at, t.received_at, t.kind, t.protocol, t.attributes
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    JOIN core.telemetry t ON t.device_id = d.id AND t.sent_at >= y.shown_from
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (t.sent_at >= d.owned_since AND t.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.received_at);

CREATE OR REPLACE VIEW display.events WITH (security_barrier) AS
    SELECT e.id, e.device_id, d.unique_id, d.account_id, e.type, e.occurred_at, e.attributes,
           e.superseded AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= e.superseded_at)
               AS superseded,
           e.decided_at, e.stored_at, e.digest, e.fence_id, f.name AS fence, e.latitude, e.longitude
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    JOIN core.events e ON e.device_id = d.id AND e.occurred_at >= y.shown_from
    LEFT JOIN core.fences f ON f.id = e.fence_id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR e.occurred_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= e.stored_at);

-- An interval is shown while any of it is.
CREATE OR REPLACE VIEW display.trips WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.start_latitude, t.start_longitude, t.start_digest, t.end_latitude, t.end_longitude, t.end_digest,
           t.distance_mm, t.odometer_start_mm, t.speed_max_mps, t.fuel_start, t.fuel_end, t.driver_unique_id, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    JOIN core.trips t ON t.device_id = d.id AND (t.ended_at IS NULL OR t.ended_at >= y.shown_from)
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.stored_at)
      AND (t.superseded_at IS NULL
           OR EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.superseded_at));

CREATE OR REPLACE VIEW display.stops WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.latitude, t.longitude, t.digest, t.engine_us, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    JOIN core.stops t ON t.device_id = d.id AND (t.ended_at IS NULL OR t.ended_at >= y.shown_from)
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.stored_at)
      AND (t.superseded_at IS NULL
           OR EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.superseded_at));

CREATE OR REPLACE VIEW display.visits WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.fence_id, f.name AS fence, t.entered_at,
           coalesce(t.left_at, CASE WHEN f.until <= now() THEN greatest(f.until, t.entered_at) END) AS left_at,
           t.decided_at, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    JOIN core.visits t ON t.device_id = d.id AND (t.left_at IS NULL OR t.left_at >= y.shown_from)
    JOIN core.fences f ON f.id = t.fence_id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR t.entered_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.stored_at)
      AND (t.superseded_at IS NULL
           OR EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.superseded_at));

-- The management row counts what waits up to 20,000 and no further, so that a list of thousands of trackers that are hidden
-- for months is still a list.
CREATE OR REPLACE VIEW core.management AS
    SELECT d.id AS device_id, coalesce(b.state, 'active') AS state, b.reason, b.note, b.since, b.due_minor,
           CASE WHEN b.since IS NOT NULL THEN (
               SELECT count(*) FROM (
                   SELECT FROM core.positions p
                   WHERE p.device_id = d.id AND p.fixed_at >= b.since - interval '31 days' AND p.received_at >= b.since
                     AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
                   LIMIT 20000
               ) counted
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
