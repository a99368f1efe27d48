-- What the API shows live: the latest fix of each tracker beside how the engine left it, and fixes by their number.

-- Numbers grow as rows come, so a summary of each few pages finds one; a tree of them would cost each fix its share.
CREATE INDEX positions_id ON core.positions USING brin (id) WITH (pages_per_range = 16, autosummarize = on);

CREATE VIEW display.latest WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes,
           s.odometer_mm, s.moving, s.fence_ids
    FROM core.devices d
    JOIN core.device_state s ON s.device_id = d.id
    JOIN core.positions p ON p.device_id = d.id AND p.fixed_at = s.latest_fixed_at AND p.digest = s.latest_digest
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);
GRANT SELECT ON display.latest TO tracker_core, tracker_display;

-- Beside what was there: what names the fix (with tracker and moment), and the network around it.
CREATE OR REPLACE VIEW display.positions WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes, p.digest, p.network
    FROM core.devices d JOIN core.positions p ON p.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= p.received_at);

CREATE INDEX events_id ON core.events USING brin (id) WITH (pages_per_range = 16, autosummarize = on);
