-- What a vehicle had counted before its tracker, as people set it: added wherever the engine's own totals are shown, and
-- looked at by maintenance plans. engine_offset_us: null until somebody says; then the engine's hours are shown.
-- expires_at: kept for clients that have the field; what a tracker costs is its tariff's.
ALTER TABLE core.devices
    ADD COLUMN odometer_offset_mm bigint NOT NULL DEFAULT 0,
    ADD COLUMN engine_offset_us bigint,
    ADD COLUMN expires_at timestamptz;
CREATE TRIGGER tell_totals AFTER UPDATE OF odometer_offset_mm, engine_offset_us ON core.devices
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();

CREATE OR REPLACE VIEW display.cards WITH (security_barrier) AS
    SELECT id AS device_id, account_id, unique_id, name, priority, test, group_id, calendar_id, category, phone, model,
           contact, attributes, created_at, expires_at
    FROM core.devices WHERE removed_at IS NULL;

CREATE OR REPLACE VIEW display.latest WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes,
           s.odometer_mm + d.odometer_offset_mm AS odometer_mm, s.moving, s.fence_ids, p.network,
           s.engine_us + d.engine_offset_us AS engine_us
    FROM core.devices d
    JOIN core.device_state s ON s.device_id = d.id
    JOIN core.positions p ON p.device_id = d.id AND p.fixed_at = s.latest_fixed_at AND p.digest = s.latest_digest
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

CREATE OR REPLACE VIEW display.device_marks WITH (security_barrier) AS
    SELECT d.id AS device_id, d.unique_id, d.account_id, s.odometer_mm + d.odometer_offset_mm AS odometer_mm,
           s.engine_us + coalesce(d.engine_offset_us, 0) AS engine_us, s.moving, s.fence_ids, s.online, s.contact_at
    FROM core.devices d JOIN core.device_state s ON s.device_id = d.id
    WHERE d.removed_at IS NULL AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

CREATE OR REPLACE VIEW display.trips WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.start_latitude, t.start_longitude, t.start_digest, t.end_latitude, t.end_longitude, t.end_digest,
           t.distance_mm, t.odometer_start_mm + d.odometer_offset_mm AS odometer_start_mm, t.speed_max_mps, t.fuel_start,
           t.fuel_end, t.driver_unique_id, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    JOIN core.trips t ON t.device_id = d.id AND (t.ended_at IS NULL OR t.ended_at >= y.shown_from)
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.stored_at)
      AND (t.superseded_at IS NULL
           OR EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.superseded_at));
