-- The latest fix of each tracker is looked up by its key, after the gate: no plan reads whole days to join them, and how many
-- rows there will be is known, so that what is asked of each tracker is asked of all at once. Half the work for 2,000.

CREATE OR REPLACE VIEW display.latest WITH (security_barrier) AS
    SELECT p.id, s.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol,
           CASE WHEN x.spans IS NULL OR x.spans @> p.received_at THEN p.attributes ELSE '{}' END AS attributes,
           s.odometer_mm + d.odometer_offset_mm AS odometer_mm, s.moving, s.fence_ids, p.network,
           s.engine_us + d.engine_offset_us AS engine_us
    FROM core.devices d
    JOIN core.device_state s ON s.device_id = d.id
    LEFT JOIN core.features x ON x.account_id = d.account_id AND x.feature = 'sensors'
    CROSS JOIN LATERAL (
        SELECT * FROM core.positions o
        WHERE o.device_id = s.device_id AND o.fixed_at = s.latest_fixed_at AND o.digest = s.latest_digest OFFSET 0
    ) p
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id)
      AND NOT EXISTS (
          SELECT FROM core.unpaid u
          WHERE u.device_id = d.id AND tstzrange(u.hidden_from, u.hidden_until) @> s.latest_fixed_at
            AND (SELECT reveal FROM core.gate) <> 'all'
      );
