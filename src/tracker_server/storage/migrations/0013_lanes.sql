-- A tracker's messages through one channel to one recipient keep their order; those about no tracker, the account's.
DROP INDEX core.outbox_order;
CREATE INDEX outbox_order ON core.outbox (account_id, coalesce(device_id, 0), channel, recipient, id)
    WHERE delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL;

-- What the page is to show stands in the log like any message; whoever has the page open is told of it at once.
CREATE FUNCTION core.tell_web() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_web', new.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_web AFTER INSERT ON core.outbox
    FOR EACH ROW WHEN (new.channel = 'web' AND new.withheld_at IS NULL) EXECUTE FUNCTION core.tell_web();
REVOKE ALL ON FUNCTION core.tell_web() FROM PUBLIC;
