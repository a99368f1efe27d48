-- Beside what was there: the network around the latest fix.
CREATE OR REPLACE VIEW display.latest WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes,
           s.odometer_mm, s.moving, s.fence_ids, p.network
    FROM core.devices d
    JOIN core.device_state s ON s.device_id = d.id
    JOIN core.positions p ON p.device_id = d.id AND p.fixed_at = s.latest_fixed_at AND p.digest = s.latest_digest
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);
