-- A kept session of a client that is here has no end yet: its time begins when the client goes, or the server.
ALTER TABLE core.mqtt_sessions ALTER COLUMN expires_at DROP NOT NULL;
ALTER TABLE core.mqtt_sessions ADD COLUMN expiry_s bigint NOT NULL DEFAULT 604800 CHECK (expiry_s > 0);

-- A command that is fetched by MQTT is sent once its device has acknowledged it. It may answer before that is written down.
ALTER TABLE core.command_queue ADD COLUMN offered_at timestamptz;

CREATE OR REPLACE FUNCTION core.command_answered() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    UPDATE core.command_queue
    SET answered_at = new.received_at, sent_at = coalesce(sent_at, now()), result = left(new.attributes ->> 'result', 4000)
    WHERE id = (
        SELECT id FROM core.command_queue
        WHERE device_id = new.device_id AND answered_at IS NULL AND failed_at IS NULL
          AND coalesce(sent_at, offered_at) > new.received_at - interval '1 day'
          AND (sent_at IS NOT NULL OR expires_at > now())
        ORDER BY coalesce(sent_at, offered_at), id LIMIT 1);
    RETURN NULL;
END $$;
