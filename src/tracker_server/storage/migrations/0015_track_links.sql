-- What the track engine has to hear of: links of fences and maintenance plans to trackers and groups; and how far history
-- that is queued was touched.

-- Until when history was touched: a run may end where everything is as it was, but not before.
ALTER TABLE core.track_queue ADD COLUMN until_at timestamptz NOT NULL DEFAULT '2200-01-01T00:00:00Z';

CREATE INDEX trips_open ON core.trips (device_id) WHERE ended_at IS NULL AND superseded_at IS NULL;
CREATE INDEX stops_open ON core.stops (device_id) WHERE ended_at IS NULL AND superseded_at IS NULL;
CREATE INDEX visits_open ON core.visits (device_id) WHERE left_at IS NULL AND superseded_at IS NULL;

CREATE FUNCTION core.tell_track_linked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
DECLARE
    link core.links := coalesce(new, old);
BEGIN
    IF link.kind IN ('geofence', 'maintenance') THEN
        PERFORM pg_notify('tracker_track', account_id::text) FROM (
            SELECT account_id FROM core.devices WHERE link.owner = 'device' AND id = link.owner_id
            UNION SELECT account_id FROM core.groups WHERE link.owner = 'group' AND id = link.owner_id
        ) a;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_track AFTER INSERT OR UPDATE OR DELETE ON core.links
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_linked();
CREATE TRIGGER tell_track AFTER INSERT OR UPDATE OR DELETE ON core.maintenance
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();
CREATE TRIGGER tell_track AFTER UPDATE OR DELETE ON core.groups
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();
CREATE TRIGGER tell_track_group AFTER UPDATE OF group_id ON core.devices
    FOR EACH ROW EXECUTE FUNCTION core.tell_track_changed();

REVOKE ALL ON FUNCTION core.tell_track_linked() FROM PUBLIC;
