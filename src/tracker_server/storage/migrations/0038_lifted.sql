-- When a tracker was hidden, by blocks that are no more: what happened then is told to nobody afterwards either, also where it
-- is found only later, from what the tracker kept in its memory. Of each tracker some days are remembered, for only what is
-- young is told at all.

CREATE TABLE core.lifted (
    device_id    bigint NOT NULL,
    hidden_from  timestamptz NOT NULL,
    hidden_until timestamptz NOT NULL, -- not hidden itself
    PRIMARY KEY (device_id, hidden_from, hidden_until)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.lifted TO tracker_core;

CREATE FUNCTION core.note_lifted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE -- a block that is moved ahead ends now, too
    ended timestamptz := least(now(), OLD.until, CASE TG_OP WHEN 'UPDATE' THEN NEW.since END);
BEGIN
    IF ended > OLD.since THEN
        DELETE FROM core.lifted WHERE device_id = OLD.device_id AND hidden_until < now() - interval '7 days';
        INSERT INTO core.lifted VALUES (OLD.device_id, OLD.since, ended) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER lifted AFTER DELETE OR UPDATE OF since ON core.blocks FOR EACH ROW EXECUTE FUNCTION core.note_lifted();
REVOKE ALL ON FUNCTION core.note_lifted() FROM PUBLIC;
