-- Reports that people keep, and have mailed when an event of a calendar is over: the event's time is the report's period.

-- user_id: who kept it, in whose name it is made and to whom it goes. next_at: when it is looked at next; null: never.
CREATE TABLE core.reports (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  bigint NOT NULL REFERENCES core.accounts,
    user_id     bigint REFERENCES core.users ON DELETE CASCADE,
    type        text NOT NULL CHECK (type <> ''),
    description text NOT NULL DEFAULT '',
    calendar_id bigint REFERENCES core.calendars ON DELETE SET NULL,
    attributes  jsonb NOT NULL DEFAULT '{}',
    done_to     timestamptz NOT NULL DEFAULT now(), -- events that ended until then have been mailed
    next_at     timestamptz DEFAULT now()
);
CREATE INDEX reports_account ON core.reports (account_id);
CREATE INDEX reports_next ON core.reports (next_at);
CREATE INDEX reports_calendar ON core.reports (calendar_id);

CREATE FUNCTION core.look_at_reports() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    UPDATE core.reports SET next_at = now() WHERE calendar_id = new.id;
    RETURN NULL;
END $$;
CREATE TRIGGER look_at_reports AFTER UPDATE OF data ON core.calendars
    FOR EACH ROW EXECUTE FUNCTION core.look_at_reports();

GRANT SELECT, INSERT, UPDATE, DELETE ON core.reports TO tracker_core;
REVOKE ALL ON FUNCTION core.look_at_reports() FROM PUBLIC;
