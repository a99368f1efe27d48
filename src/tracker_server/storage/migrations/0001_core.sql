-- Who there is, what they sent, and who may see it.
--
-- core     what is true. Read and written by the server (role tracker_core).
-- display  what a customer may see: views that join the gate. Role tracker_display reads these and nothing else.
--
-- Tables that grow with time are made by core.make_time_table(): hypertables where TimescaleDB is there,
-- native range partitions where it is not. The rest of the SQL does not know which.

CREATE SCHEMA core;
CREATE SCHEMA display;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tracker_core') THEN
        CREATE ROLE tracker_core NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tracker_display') THEN
        CREATE ROLE tracker_display NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this cluster made them at the same moment
END $$;
GRANT tracker_core, tracker_display TO CURRENT_USER;

-- ---------------------------------------------------------------------------------------- customers

CREATE TABLE core.tariffs (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL UNIQUE CHECK (name <> ''),
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    monthly_minor bigint NOT NULL CHECK (monthly_minor >= 0),
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE core.accounts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (name <> ''),
    zone       text NOT NULL,
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    tariff_id  bigint NOT NULL REFERENCES core.tariffs,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A tracker in one account's hands. Moving it to another account, or removing and adding it again, makes
-- a new row: what the former owner's tracker sent stays with the former row.
CREATE TABLE core.devices (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unique_id   text NOT NULL CHECK (unique_id <> ''),
    account_id  bigint NOT NULL REFERENCES core.accounts,
    name        text NOT NULL,
    priority    integer NOT NULL DEFAULT 1,
    test        boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- fixes from before this moment belong to a former owner and are shown to nobody; null: there was none
    owned_since timestamptz,
    removed_at  timestamptz
);
CREATE UNIQUE INDEX devices_unique_id ON core.devices (unique_id) WHERE removed_at IS NULL;
CREATE INDEX devices_former ON core.devices (unique_id) WHERE removed_at IS NOT NULL;
CREATE INDEX devices_account ON core.devices (account_id);

-- What hides a tracker. One row for one reason; a tracker is visible when none is in force.
CREATE TABLE core.blocks (
    device_id  bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    reason     text NOT NULL CHECK (reason <> ''),
    since      timestamptz NOT NULL,
    until      timestamptz,
    note       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, reason)
);

-- ------------------------------------------------------------------------------ tables that grow with time

CREATE TABLE core.time_tables (
    name        text PRIMARY KEY,
    time_column text NOT NULL,
    native      boolean NOT NULL,
    -- native only: from this day on a partition is a day, before it a year
    daily_from  date NOT NULL
);

-- Turn core.<table>_shape (columns and constraints) into core.<table>, cut by time.
CREATE FUNCTION core.make_time_table(table_name text, time_column text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    native boolean := NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb');
BEGIN
    EXECUTE format(
        'CREATE TABLE core.%1$I (LIKE core.%2$I INCLUDING ALL)%3$s', table_name, table_name || '_shape',
        CASE WHEN native THEN format(' PARTITION BY RANGE (%I)', time_column) ELSE '' END);
    EXECUTE format('DROP TABLE core.%I', table_name || '_shape');
    IF NOT native THEN
        EXECUTE format(
            'SELECT create_hypertable(%L, %L, chunk_time_interval => interval ''1 day'', create_default_indexes => false)',
            'core.' || table_name, time_column);
    END IF;
    INSERT INTO core.time_tables VALUES (table_name, time_column, native, current_date - 31);
END $$;

-- Bounds of the native partition that holds a day.
CREATE FUNCTION core.partition_bounds(day date, daily_from date, OUT lower_day date, OUT upper_day date)
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN day >= daily_from THEN day ELSE date_trunc('year', day)::date END,
           CASE WHEN day >= daily_from THEN day + 1
                ELSE least((date_trunc('year', day) + interval '1 year')::date, daily_from) END
$$;

-- Make the partitions that hold these days, where they are not there yet. Nothing to do for hypertables.
CREATE FUNCTION core.ensure_days(days date[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    grown record;
    bound record;
    part  text;
BEGIN
    FOR grown IN SELECT * FROM core.time_tables WHERE native ORDER BY name LOOP
        FOR bound IN
            SELECT DISTINCT b.lower_day, b.upper_day
            FROM unnest(days) AS day, core.partition_bounds(day, grown.daily_from) AS b ORDER BY 1
        LOOP
            part := format('%s_%s', grown.name, to_char(bound.lower_day, 'YYYYMMDD'));
            CONTINUE WHEN to_regclass('core.' || quote_ident(part)) IS NOT NULL;
            PERFORM pg_advisory_xact_lock(hashtext('core.ensure_days'));
            -- asked of the table, not of to_regclass: that remembers that there was none before we waited
            CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relnamespace = 'core'::regnamespace AND relname = part);
            -- LIKE and ATTACH: unlike PARTITION OF, this does not lock out readers and writers of other days
            EXECUTE format('CREATE TABLE core.%I (LIKE core.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)',
                           part, grown.name);
            EXECUTE format('ALTER TABLE core.%I ATTACH PARTITION core.%I FOR VALUES FROM (%L) TO (%L)',
                           grown.name, part,
                           bound.lower_day::timestamp AT TIME ZONE 'UTC', bound.upper_day::timestamp AT TIME ZONE 'UTC');
        END LOOP;
    END LOOP;
END $$;

-- Drop what lies wholly before a day; answers the names dropped.
CREATE FUNCTION core.drop_days_before(day date) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, public, pg_temp AS $$
DECLARE
    grown record;
    part  record;
BEGIN
    FOR grown IN SELECT * FROM core.time_tables LOOP
        IF NOT grown.native THEN
            RETURN QUERY EXECUTE format('SELECT drop_chunks(%L, older_than => %L::timestamptz)::text',
                                        'core.' || grown.name, day::timestamp AT TIME ZONE 'UTC');
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
        EXECUTE format('DELETE FROM core.%I WHERE %I < %L', grown.name, grown.time_column,
                       day::timestamp AT TIME ZONE 'UTC'); -- what is left lies in the year that the day cuts
    END LOOP;
END $$;

CREATE SEQUENCE core.position_ids CACHE 1000;

-- One row for one fix. Key: device, fix time, digest of the record (CRC-64/XZ, signed).
CREATE TABLE core.positions_shape (
    id          bigint NOT NULL DEFAULT nextval('core.position_ids'),
    device_id   bigint NOT NULL,
    fixed_at    timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    digest      bigint NOT NULL,
    latitude    double precision NOT NULL CHECK (latitude BETWEEN -90 AND 90),
    longitude   double precision NOT NULL CHECK (longitude BETWEEN -180 AND 180),
    valid       boolean NOT NULL,
    altitude_m  real,
    speed_mps   real,
    course_deg  real,
    accuracy_m  real,
    protocol    text NOT NULL,
    attributes  jsonb NOT NULL DEFAULT '{}',
    network     jsonb
);
SELECT core.make_time_table('positions', 'fixed_at');
CREATE UNIQUE INDEX positions_key ON core.positions (device_id, fixed_at, digest);

-- Reports without a location of their own: battery, ignition, cells, command results. sent_at is the
-- device's own time where it told one, else the moment of receipt.
CREATE TABLE core.telemetry_shape (
    device_id   bigint NOT NULL,
    sent_at     timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    digest      bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('report', 'heartbeat', 'command_result')),
    protocol    text NOT NULL,
    attributes  jsonb NOT NULL DEFAULT '{}',
    network     jsonb
);
SELECT core.make_time_table('telemetry', 'sent_at');
CREATE UNIQUE INDEX telemetry_key ON core.telemetry (device_id, sent_at, digest);

-- What became of positions: found by the track engine.
CREATE SEQUENCE core.event_ids CACHE 100;
CREATE TABLE core.events_shape (
    id          bigint NOT NULL DEFAULT nextval('core.event_ids'),
    device_id   bigint NOT NULL,
    type        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    attributes  jsonb NOT NULL DEFAULT '{}',
    superseded  boolean NOT NULL DEFAULT false
);
SELECT core.make_time_table('events', 'occurred_at');
CREATE INDEX events_device ON core.events (device_id, occurred_at);

-- The newest of each tracker. A fix that claims to come from the future counts as at its receipt, so one
-- absurd clock freezes nothing: latest_at = least(fixed_at, received_at).
CREATE TABLE core.device_state (
    device_id       bigint PRIMARY KEY REFERENCES core.devices ON DELETE CASCADE,
    contact_at      timestamptz,
    newest_fixed_at timestamptz,
    latest_at       timestamptz,
    latest_fixed_at timestamptz,
    latest_digest   bigint
) WITH (fillfactor = 50); -- updated with each batch, in place
CREATE FUNCTION core.add_device_state() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    INSERT INTO core.device_state (device_id) VALUES (new.id);
    RETURN NULL;
END $$;
CREATE TRIGGER device_state AFTER INSERT ON core.devices FOR EACH ROW EXECUTE FUNCTION core.add_device_state();

-- ------------------------------------------------------------------------------------------- quarantine

-- Frames kept whole because they could not be decoded, assigned or stored. The same frame again is the same row.
CREATE TABLE core.quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    unique_id   text NOT NULL DEFAULT '', -- as the device named itself; '': it did not
    device_id   bigint REFERENCES core.devices ON DELETE SET NULL,
    protocol    text NOT NULL,
    transport   text NOT NULL,
    remote      text NOT NULL,
    reason      text NOT NULL,
    detail      text NOT NULL DEFAULT '',
    reports     integer NOT NULL, -- how many reports the frame holds, as far as it could be read
    frame       bytea NOT NULL,
    digest      bigint NOT NULL
);
CREATE UNIQUE INDEX quarantine_key ON core.quarantine (protocol, unique_id, reason, digest);
CREATE INDEX quarantine_received ON core.quarantine (received_at);
CREATE INDEX quarantine_unique_id ON core.quarantine (unique_id);

-- ------------------------------------------------------------------------------------------------- gate

-- What is hidden right now; visible is what is not here.
CREATE VIEW core.hidden AS
    SELECT DISTINCT device_id FROM core.blocks
    WHERE since <= now() AND (until IS NULL OR now() < until);

CREATE VIEW display.devices WITH (security_barrier) AS
    SELECT d.id, d.unique_id, d.account_id, d.name, d.created_at, s.contact_at, s.latest_fixed_at
    FROM core.devices d JOIN core.device_state s ON s.device_id = d.id
    WHERE d.removed_at IS NULL AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

CREATE VIEW display.positions WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes
    FROM core.devices d JOIN core.positions p ON p.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

CREATE VIEW display.telemetry WITH (security_barrier) AS
    SELECT t.device_id, d.unique_id, d.account_id, t.sent_at, t.received_at, t.kind, t.protocol, t.attributes
    FROM core.devices d JOIN core.telemetry t ON t.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR (t.sent_at >= d.owned_since AND t.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

CREATE VIEW display.events WITH (security_barrier) AS
    SELECT e.id, e.device_id, d.unique_id, d.account_id, e.type, e.occurred_at, e.attributes, e.superseded
    FROM core.devices d JOIN core.events e ON e.device_id = d.id
    WHERE d.removed_at IS NULL
      AND (d.owned_since IS NULL OR e.occurred_at >= d.owned_since)
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

-- Every process keeps the devices and their blocks in memory; this tells it which to read again.
CREATE FUNCTION core.tell_device_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_devices', coalesce(new.id, old.id)::text);
    RETURN NULL;
END $$;
CREATE FUNCTION core.tell_block_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_devices', coalesce(new.device_id, old.device_id)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON core.devices
    FOR EACH ROW EXECUTE FUNCTION core.tell_device_changed();
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON core.blocks
    FOR EACH ROW EXECUTE FUNCTION core.tell_block_changed();

-- --------------------------------------------------------------------------------------------- privileges

REVOKE ALL ON SCHEMA core, display FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA core FROM PUBLIC;
GRANT USAGE ON SCHEMA core, display TO tracker_core;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA core TO tracker_core;
GRANT SELECT ON ALL TABLES IN SCHEMA display TO tracker_core;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA core TO tracker_core;
GRANT EXECUTE ON FUNCTION core.ensure_days(date[]), core.drop_days_before(date) TO tracker_core;
GRANT USAGE ON SCHEMA display TO tracker_display;
GRANT SELECT ON ALL TABLES IN SCHEMA display TO tracker_display;
