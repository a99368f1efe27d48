-- What devices are to be told. A row waits until its device is connected; it is marked as sent after its bytes went out, so
-- a server that dies in between sends it again. A device's answer finds the oldest command that it has not answered.

CREATE TABLE core.command_queue (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id   bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    type        text NOT NULL CHECK (type <> ''),
    attributes  jsonb NOT NULL DEFAULT '{}',
    operator    boolean NOT NULL, -- the operator's order: goes out while its tracker is hidden
    created_by  text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    sent_at     timestamptz,
    answered_at timestamptz,
    result      text,
    failed_at   timestamptz, -- could not be put in the device's words
    error       text,
    CHECK (sent_at IS NULL OR failed_at IS NULL),
    CHECK (answered_at IS NULL OR sent_at IS NOT NULL)
);
CREATE INDEX command_queue_waiting ON core.command_queue (device_id, id) WHERE sent_at IS NULL AND failed_at IS NULL;
CREATE INDEX command_queue_unanswered ON core.command_queue (device_id, sent_at)
    WHERE sent_at IS NOT NULL AND answered_at IS NULL;
CREATE INDEX command_queue_device ON core.command_queue (device_id, id);

CREATE FUNCTION core.tell_command() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_commands', new.device_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT ON core.command_queue FOR EACH ROW EXECUTE FUNCTION core.tell_command();

-- In the transaction that stores the answer. A day is the longest that an answer is believed to belong to a command.
CREATE FUNCTION core.command_answered() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    UPDATE core.command_queue SET answered_at = new.received_at, result = left(new.attributes ->> 'result', 4000)
    WHERE id = (
        SELECT id FROM core.command_queue
        WHERE device_id = new.device_id AND sent_at > new.received_at - interval '1 day' AND answered_at IS NULL
        ORDER BY sent_at, id LIMIT 1);
    RETURN NULL;
END $$;
CREATE TRIGGER command_answered AFTER INSERT ON core.telemetry
    FOR EACH ROW WHEN (new.kind = 'command_result') EXECUTE FUNCTION core.command_answered();

-- An answer may tell where a tracker is: hidden with it, command and all.
CREATE VIEW display.commands WITH (security_barrier) AS
    SELECT q.id, q.device_id, d.unique_id, d.account_id, q.type, q.attributes, q.created_by, q.created_at, q.expires_at,
           q.sent_at, q.answered_at, q.result, q.failed_at, q.error
    FROM core.devices d JOIN core.command_queue q ON q.device_id = d.id
    WHERE d.removed_at IS NULL
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id
                      AND h.hides_from <= greatest(q.created_at, q.sent_at, q.answered_at));

GRANT SELECT, INSERT, UPDATE, DELETE ON core.command_queue TO tracker_core;
GRANT SELECT ON display.commands TO tracker_core, tracker_display;
REVOKE ALL ON FUNCTION core.tell_command(), core.command_answered() FROM PUBLIC;
