-- The MQTT endpoint's memory: who may speak, whose subscriptions outlive a connection, what waits for a device;
-- and what is still to be published to a broker.

-- A name with the SHA-256 of its secret, a token. No devices: it may speak for all, as a gateway.
CREATE TABLE core.mqtt_logins (
    name       text PRIMARY KEY CHECK (name <> ''),
    digest     bytea NOT NULL CHECK (length(digest) = 32),
    devices    text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE core.mqtt_sessions (
    client_id  text PRIMARY KEY CHECK (client_id <> ''),
    user_name  text NOT NULL,
    filters    jsonb NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Commands that devices fetch by subscribing. A row goes when its device has acknowledged it, or when it is void.
CREATE TABLE core.mqtt_mail (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unique_id  text NOT NULL CHECK (unique_id <> ''),
    topic      text NOT NULL CHECK (topic <> ''),
    payload    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX mqtt_mail_unique_id ON core.mqtt_mail (unique_id);

CREATE FUNCTION core.tell_mqtt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_mqtt', TG_TABLE_NAME);
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON core.mqtt_logins
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_mqtt();
CREATE TRIGGER tell AFTER INSERT ON core.mqtt_mail
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_mqtt();

-- What goes out to a broker: written in the transaction that stores the position or the event, while somebody has asked
-- for it (core.set_mqtt_publishing), and gone when the broker has acknowledged it.
CREATE TABLE core.mqtt_queue (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text NOT NULL CHECK (kind IN ('position', 'event')),
    device_id bigint NOT NULL,
    at        timestamptz NOT NULL, -- with the reference, the key of the row in its time table
    reference bigint NOT NULL
);

-- Topics under which the broker keeps something of a tracker, to be taken back when it is hidden or removed.
CREATE TABLE core.mqtt_retained (
    topic     text PRIMARY KEY,
    device_id bigint NOT NULL
);
CREATE INDEX mqtt_retained_device ON core.mqtt_retained (device_id);

CREATE FUNCTION core.queue_position() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    INSERT INTO core.mqtt_queue (kind, device_id, at, reference) VALUES ('position', new.device_id, new.fixed_at, new.id);
    RETURN NULL;
END $$;
CREATE FUNCTION core.queue_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    INSERT INTO core.mqtt_queue (kind, device_id, at, reference) VALUES ('event', new.device_id, new.occurred_at, new.id);
    RETURN NULL;
END $$;

-- Begin or cease to queue. Ceasing forgets what waits.
CREATE FUNCTION core.set_mqtt_publishing(positions boolean, events boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    has_positions boolean := EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'core.positions'::regclass AND tgname = 'mqtt');
    has_events    boolean := EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'core.events'::regclass AND tgname = 'mqtt');
BEGIN
    IF positions AND NOT has_positions THEN
        CREATE TRIGGER mqtt AFTER INSERT ON core.positions FOR EACH ROW EXECUTE FUNCTION core.queue_position();
    ELSIF NOT positions AND has_positions THEN
        DROP TRIGGER mqtt ON core.positions;
        DELETE FROM core.mqtt_queue WHERE kind = 'position';
    END IF;
    IF events AND NOT has_events THEN
        CREATE TRIGGER mqtt AFTER INSERT ON core.events FOR EACH ROW EXECUTE FUNCTION core.queue_event();
    ELSIF NOT events AND has_events THEN
        DROP TRIGGER mqtt ON core.events;
        DELETE FROM core.mqtt_queue WHERE kind = 'event';
    END IF;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON core.mqtt_logins, core.mqtt_sessions, core.mqtt_mail, core.mqtt_queue,
    core.mqtt_retained TO tracker_core;
REVOKE ALL ON FUNCTION core.tell_mqtt(), core.queue_position(), core.queue_event(),
    core.set_mqtt_publishing(boolean, boolean) FROM PUBLIC;
