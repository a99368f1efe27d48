-- Whoever keeps in memory who may see what hears whom a change may concern: 'u7' a user, 'a3' everybody of an account (and
-- who came by a link from there), 'objects' nobody's rights. An empty word would concern everybody.

CREATE OR REPLACE FUNCTION core.tell_people() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_people', 'objects');
    RETURN NULL;
END $$; -- of computed attributes

CREATE FUNCTION core.tell_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_people', 'u' || OLD.user_id) WHERE OLD.user_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE FUNCTION core.tell_this_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_people', 'u' || OLD.id);
    RETURN NULL;
END $$;
CREATE FUNCTION core.tell_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN -- of a row that moved, both
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('tracker_people', 'a' || OLD.account_id) WHERE OLD.account_id IS NOT NULL;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('tracker_people', 'a' || NEW.account_id) WHERE NEW.account_id IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION core.tell_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    link core.links := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM pg_notify('tracker_people', CASE link.owner WHEN 'user' THEN 'u' || link.owner_id ELSE 'objects' END);
    RETURN NULL;
END $$;

DROP TRIGGER tell_people ON core.users;
DROP TRIGGER tell_people ON core.tokens;
DROP TRIGGER tell_people ON core.sessions;
DROP TRIGGER tell_people ON core.links;
DROP TRIGGER tell_people ON core.groups;
DROP TRIGGER tell_people ON core.devices;

-- A notification that a transaction repeats is sent once.
CREATE TRIGGER tell_people AFTER UPDATE OR DELETE ON core.users FOR EACH ROW EXECUTE FUNCTION core.tell_this_user();
CREATE TRIGGER tell_people AFTER UPDATE OR DELETE ON core.tokens FOR EACH ROW EXECUTE FUNCTION core.tell_user();
CREATE TRIGGER tell_people AFTER DELETE ON core.sessions FOR EACH ROW EXECUTE FUNCTION core.tell_user();
CREATE TRIGGER tell_people AFTER INSERT OR UPDATE OR DELETE ON core.links
    FOR EACH ROW EXECUTE FUNCTION core.tell_link();
CREATE TRIGGER tell_people AFTER INSERT OR UPDATE OR DELETE ON core.groups
    FOR EACH ROW EXECUTE FUNCTION core.tell_account();
CREATE TRIGGER tell_people AFTER INSERT OR UPDATE OF group_id, account_id, removed_at OR DELETE ON core.devices
    FOR EACH ROW EXECUTE FUNCTION core.tell_account();

REVOKE ALL ON FUNCTION core.tell_user(), core.tell_this_user(), core.tell_account(), core.tell_link() FROM PUBLIC;
