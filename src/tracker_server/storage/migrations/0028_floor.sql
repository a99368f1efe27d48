-- Where retention has dropped what came before, history begins at the first checkpoint after it: a report of a time before
-- that, however late it comes, is run from there, and the odometer stays.
ALTER TABLE core.track_checkpoints ADD COLUMN floor boolean NOT NULL DEFAULT false;
CREATE INDEX track_checkpoints_floor ON core.track_checkpoints (device_id, at) WHERE floor;

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
    -- … but a run over what was dropped would be another history: none begins before the first that has all behind it
    UPDATE core.track_checkpoints c SET floor = true
    FROM (
        SELECT o.device_id, coalesce((SELECT min(n.at) FROM core.track_checkpoints n
                                      WHERE n.device_id = o.device_id AND n.at >= cut), max(o.at)) AS at
        FROM core.track_checkpoints o WHERE o.at < cut GROUP BY o.device_id
    ) f
    WHERE c.device_id = f.device_id AND c.at = f.at AND NOT c.floor;
    DELETE FROM core.proximity_marks c WHERE at < cut
        AND EXISTS (SELECT FROM core.proximity_marks n WHERE n.proximity_id = c.proximity_id AND n.at > c.at AND n.at < cut);
END $$;
