-- What the track engine knows and finds: fences, trips, stops, visits, more of each event, and how far it has come.
--
-- Intervals are kept as they were known: a row that was wrong, or open and has ended, is superseded by another and
-- stays for a while. So a block that hides what came after it shows what was known before it, and not that it changed.

-- ------------------------------------------------------------------------------------------------ fences

-- shape: as tracker_server.track.fences.shapes has it, every vertex as it was drawn. A fence counts for fixes received from
-- created_at on, with moments from since until before until (null: always). Removed: until is set, and removed_at.
CREATE TABLE core.fences (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id      bigint NOT NULL REFERENCES core.accounts,
    name            text NOT NULL CHECK (name <> ''),
    kind            text NOT NULL CHECK (kind IN ('circle', 'corridor', 'area')),
    shape           jsonb NOT NULL,
    speed_limit_mps double precision CHECK (speed_limit_mps > 0),
    dwell_s         double precision CHECK (dwell_s > 0),
    schedule        text CHECK (schedule <> ''), -- iCalendar: events are told within it only
    calendar_id     bigint,                      -- the calendar that the schedule was taken from
    everyone        boolean NOT NULL DEFAULT true, -- for all trackers of the account; else for those in fence_devices
    attributes      jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    since           timestamptz,
    until           timestamptz,
    removed_at      timestamptz
);
CREATE INDEX fences_account ON core.fences (account_id);

CREATE TABLE core.fence_devices (
    fence_id  bigint NOT NULL REFERENCES core.fences ON DELETE CASCADE,
    device_id bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    PRIMARY KEY (fence_id, device_id)
);
CREATE INDEX fence_devices_device ON core.fence_devices (device_id);

-- Two trackers of one account: a zone tells when they come near or part, a companion that the first moves without it.
CREATE TABLE core.proximities (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   bigint NOT NULL REFERENCES core.accounts,
    kind         text NOT NULL CHECK (kind IN ('zone', 'companion')),
    device_id    bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    other_id     bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE CHECK (other_id <> device_id),
    limit_m      double precision NOT NULL CHECK (limit_m > 0),
    hysteresis_m double precision NOT NULL DEFAULT 30 CHECK (hysteresis_m >= 0),
    stale_s      double precision NOT NULL DEFAULT 300 CHECK (stale_s > 0),
    near         boolean NOT NULL DEFAULT false, -- how it stands
    run_at       timestamptz                     -- since when it may be changing
);
CREATE INDEX proximities_account ON core.proximities (account_id);
CREATE UNIQUE INDEX proximities_pair ON core.proximities (kind, device_id, other_id);

-- What differs from the server's settings, by the names of docs/reference/track-settings.md: the tracker's word goes
-- before the account's.
ALTER TABLE core.accounts ADD COLUMN track jsonb NOT NULL DEFAULT '{}';
ALTER TABLE core.devices ADD COLUMN track jsonb NOT NULL DEFAULT '{}';

-- ------------------------------------------------------------------------------------------- what was found

-- decided_at: the moment of the report that made it sure; occurred_at and digest name the fix (digest null: told by a
-- clock). latitude, longitude: where.
ALTER TABLE core.events
    ADD COLUMN fence_id bigint,
    ADD COLUMN decided_at timestamptz,
    ADD COLUMN digest bigint,
    ADD COLUMN latitude double precision,
    ADD COLUMN longitude double precision,
    ADD COLUMN superseded_at timestamptz;
CREATE INDEX events_decided ON core.events (device_id, decided_at);

CREATE TABLE core.trips (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id         bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    started_at        timestamptz NOT NULL,
    ended_at          timestamptz, -- null: it goes on; distance and speed are then as of decided_at
    decided_at        timestamptz NOT NULL,
    start_latitude    double precision NOT NULL,
    start_longitude   double precision NOT NULL,
    start_digest      bigint NOT NULL,
    end_latitude      double precision NOT NULL,
    end_longitude     double precision NOT NULL,
    end_digest        bigint NOT NULL,
    distance_mm       bigint NOT NULL,
    odometer_start_mm bigint NOT NULL,
    speed_max_mps     double precision NOT NULL,
    fuel_start        double precision,
    fuel_end          double precision,
    driver_unique_id  text,
    stored_at         timestamptz NOT NULL DEFAULT now(),
    superseded_at     timestamptz
);
CREATE INDEX trips_started ON core.trips (device_id, started_at);
CREATE INDEX trips_decided ON core.trips (device_id, decided_at) WHERE superseded_at IS NULL;

CREATE TABLE core.stops (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id     bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz, -- null: it lasts
    decided_at    timestamptz NOT NULL,
    latitude      double precision NOT NULL,
    longitude     double precision NOT NULL,
    digest        bigint NOT NULL,
    engine_us     bigint NOT NULL,
    stored_at     timestamptz NOT NULL DEFAULT now(),
    superseded_at timestamptz
);
CREATE INDEX stops_started ON core.stops (device_id, started_at);
CREATE INDEX stops_decided ON core.stops (device_id, decided_at) WHERE superseded_at IS NULL;

CREATE TABLE core.visits (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id     bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    fence_id      bigint NOT NULL REFERENCES core.fences ON DELETE CASCADE,
    entered_at    timestamptz NOT NULL,
    left_at       timestamptz, -- null: it is inside
    decided_at    timestamptz NOT NULL,
    stored_at     timestamptz NOT NULL DEFAULT now(),
    superseded_at timestamptz
);
CREATE INDEX visits_entered ON core.visits (device_id, entered_at);
CREATE INDEX visits_fence ON core.visits (fence_id, entered_at);
CREATE INDEX visits_decided ON core.visits (device_id, decided_at) WHERE superseded_at IS NULL;

-- -------------------------------------------------------------------------------------- how far it has come

-- The engine's state after all reports up to a moment (and of that moment up to the digest in it). The totals stand
-- beside it, for a late fix changes all later ones by one difference.
CREATE TABLE core.track_checkpoints (
    device_id   bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    digest      bigint NOT NULL,
    odometer_mm bigint NOT NULL,
    engine_us   bigint NOT NULL,
    state       bytea NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, at)
);

-- History that is to be run again, from a moment on; what was stored before there was an engine is.
CREATE TABLE core.track_queue (
    device_id bigint PRIMARY KEY REFERENCES core.devices ON DELETE CASCADE,
    from_at   timestamptz NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO core.track_queue (device_id, from_at)
SELECT device_id, '2000-01-01T00:00:00Z' FROM core.device_state WHERE newest_fixed_at IS NOT NULL;

-- track_version: counts the batches that the engine took, so that a process sees that another took one.
-- odometer_mm …: after the newest report. online: null until it was heard first.
ALTER TABLE core.device_state
    ADD COLUMN track_version bigint NOT NULL DEFAULT 0,
    ADD COLUMN odometer_mm bigint NOT NULL DEFAULT 0,
    ADD COLUMN engine_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN moving boolean NOT NULL DEFAULT false,
    ADD COLUMN fence_ids bigint[] NOT NULL DEFAULT '{}',
    ADD COLUMN online boolean,
    ADD COLUMN inactive boolean NOT NULL DEFAULT false;

-- ---------------------------------------------------------------------------------------------- retention

CREATE OR REPLACE FUNCTION core.drop_days_before(day date) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, public, pg_temp AS $$
DECLARE
    cut   timestamptz := day::timestamp AT TIME ZONE 'UTC';
    grown record;
    part  record;
BEGIN
    FOR grown IN SELECT * FROM core.time_tables LOOP
        IF NOT grown.native THEN
            RETURN QUERY EXECUTE format('SELECT drop_chunks(%L, older_than => %L::timestamptz)::text',
                                        'core.' || grown.name, cut);
            CONTINUE;
        END IF;
        FOR part IN
            SELECT c.relname, b.upper_day
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            CROSS JOIN LATERAL core.partition_bounds(to_date(right(c.relname, 8), 'YYYYMMDD'), grown.daily_from) b
            WHERE i.inhparent = format('core.%I', grown.name)::regclass AND b.upper_day <= day
        LOOP
            EXECUTE format('DROP TABLE core.%I', part.relname);
            RETURN NEXT 'core.' || part.relname;
        END LOOP;
        EXECUTE format('DELETE FROM core.%I WHERE %I < %L', grown.name, grown.time_column, cut); -- in the year that the day cuts
    END LOOP;
    DELETE FROM core.trips WHERE ended_at < cut;
    DELETE FROM core.stops WHERE ended_at < cut;
    DELETE FROM core.visits WHERE left_at < cut;
    -- the newest before the cut stays: what is left goes on from there, and its odometer with it
    DELETE FROM core.track_checkpoints c WHERE at < cut
        AND EXISTS (SELECT FROM core.track_checkpoints n WHERE n.device_id = c.device_id AND n.at > c.at AND n.at < cut);
END $$;

-- -------------------------------------------------------------------------------------------------- gate

-- An event that a late fix of a hidden time superseded is shown as it was known.
CREATE OR REPLACE VIEW display.events WITH (security_barrier) AS
    SELECT e.id, e.device_id, d.unique_id, d.account_id, e.type, e.occurred_at, e.attributes,
           e.superseded AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= e.superseded_at)
               AS superseded,
           e.decided_at, e.stored_at, e.digest, e.fence_id, f.name AS fence, e.latitude, e.longitude
    FROM core.devices d JOIN core.events e ON e.device_id = d.id LEFT JOIN core.fences f ON f.id = e.fence_id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR e.occurred_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= e.stored_at);

-- Of intervals those that stood when the hidden time began.
CREATE VIEW display.trips WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.start_latitude, t.start_longitude, t.start_digest, t.end_latitude, t.end_longitude, t.end_digest,
           t.distance_mm, t.odometer_start_mm, t.speed_max_mps, t.fuel_start, t.fuel_end, t.driver_unique_id, t.stored_at
    FROM core.devices d JOIN core.trips t ON t.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.stored_at)
      AND (t.superseded_at IS NULL
           OR EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.superseded_at));

CREATE VIEW display.stops WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.latitude, t.longitude, t.digest, t.engine_us, t.stored_at
    FROM core.devices d JOIN core.stops t ON t.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.stored_at)
      AND (t.superseded_at IS NULL
           OR EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.superseded_at));

-- A fence that is no more holds nobody, though nothing was heard since.
CREATE VIEW display.visits WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.fence_id, f.name AS fence, t.entered_at,
           coalesce(t.left_at, CASE WHEN f.until <= now() THEN greatest(f.until, t.entered_at) END) AS left_at,
           t.decided_at, t.stored_at
    FROM core.devices d JOIN core.visits t ON t.device_id = d.id JOIN core.fences f ON f.id = t.fence_id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR t.entered_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.stored_at)
      AND (t.superseded_at IS NULL
           OR EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= t.superseded_at));

CREATE VIEW display.fences WITH (security_barrier) AS
    SELECT id, account_id, name, kind, shape, speed_limit_mps, dwell_s, schedule, calendar_id, everyone, attributes,
           created_at, since, until
    FROM core.fences WHERE removed_at IS NULL;

CREATE VIEW display.fence_devices WITH (security_barrier) AS
    SELECT a.fence_id, a.device_id, d.unique_id, d.account_id
    FROM core.devices d JOIN core.fence_devices a ON a.device_id = d.id
    WHERE d.removed_at IS NULL AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

-- How a tracker stands after its newest report.
CREATE VIEW display.device_marks WITH (security_barrier) AS
    SELECT d.id AS device_id, d.unique_id, d.account_id, s.odometer_mm, s.engine_us, s.moving, s.fence_ids, s.online, s.contact_at
    FROM core.devices d JOIN core.device_state s ON s.device_id = d.id
    WHERE d.removed_at IS NULL AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

-- ------------------------------------------------------------------------------------------------ changes

-- Every process keeps the fences of the accounts that it has met in memory; this tells it which to read again.
CREATE FUNCTION core.tell_track_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
DECLARE
    changed jsonb := to_jsonb(coalesce(new, old));
BEGIN
    PERFORM pg_notify('tracker_track', CASE tg_table_name
        WHEN 'accounts' THEN changed->>'id'
        WHEN 'fence_devices' THEN (SELECT account_id::text FROM core.devices WHERE id = (changed->>'device_id')::bigint)
        ELSE changed->>'account_id' END);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_track AFTER INSERT OR UPDATE OR DELETE ON core.fences
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();
CREATE TRIGGER tell_track AFTER INSERT OR UPDATE OR DELETE ON core.fence_devices
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();
CREATE TRIGGER tell_track AFTER INSERT OR DELETE OR UPDATE OF kind, device_id, other_id, limit_m, hysteresis_m, stale_s
    ON core.proximities FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();
CREATE TRIGGER tell_track AFTER UPDATE OF track ON core.accounts
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();
CREATE TRIGGER tell_track AFTER UPDATE OF track ON core.devices
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();

CREATE FUNCTION core.tell_track_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_track_queue', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON core.track_queue FOR EACH STATEMENT EXECUTE FUNCTION core.tell_track_queue();

GRANT SELECT, INSERT, UPDATE, DELETE ON core.fences, core.fence_devices, core.proximities, core.trips, core.stops, core.visits,
    core.track_checkpoints, core.track_queue TO tracker_core;
GRANT SELECT ON display.trips, display.stops, display.visits, display.fences, display.fence_devices, display.device_marks
    TO tracker_core, tracker_display;
REVOKE ALL ON FUNCTION core.tell_track_changed(), core.tell_track_queue() FROM PUBLIC;
