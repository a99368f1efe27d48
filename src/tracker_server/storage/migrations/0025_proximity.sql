-- Pairs of trackers: when they come near or part, and when one sets off without its companions. A pair counts for fixes with
-- moments from a minute before it was made on.

ALTER TABLE core.proximities ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX proximities_device ON core.proximities (device_id);
CREATE INDEX proximities_other ON core.proximities (other_id);

-- What a batch touched of a pair; rows are only added here and taken, so that no batch waits for the work on a pair.
CREATE TABLE core.proximity_queue (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    proximity_id bigint NOT NULL,
    from_at      timestamptz NOT NULL,
    until_at     timestamptz NOT NULL
);
CREATE INDEX proximity_queue_pair ON core.proximity_queue (proximity_id);

-- How a pair stood after all fixes up to a moment: a late fix is run from the last one before it.
CREATE TABLE core.proximity_marks (
    proximity_id bigint NOT NULL REFERENCES core.proximities ON DELETE CASCADE,
    at           timestamptz NOT NULL,
    state        bytea NOT NULL,
    PRIMARY KEY (proximity_id, at)
);

CREATE FUNCTION core.tell_proximity_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_proximity', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT ON core.proximity_queue FOR EACH STATEMENT EXECUTE FUNCTION core.tell_proximity_queue();
CREATE TRIGGER tell AFTER INSERT OR DELETE ON core.proximities FOR EACH STATEMENT EXECUTE FUNCTION core.tell_proximity_queue();

GRANT SELECT, INSERT, UPDATE, DELETE ON core.proximity_queue, core.proximity_marks TO tracker_core;
REVOKE ALL ON FUNCTION core.tell_proximity_queue() FROM PUBLIC;

-- A pair is shown while both of its trackers are.
CREATE VIEW display.proximities WITH (security_barrier) AS
    SELECT p.id, p.account_id, p.kind, p.device_id, d.unique_id, p.other_id, o.unique_id AS other_unique_id, p.limit_m,
           p.hysteresis_m, p.stale_s, p.near, p.created_at
    FROM core.proximities p
    JOIN core.devices d ON d.id = p.device_id AND d.removed_at IS NULL
    JOIN core.devices o ON o.id = p.other_id AND o.removed_at IS NULL
    WHERE NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id IN (p.device_id, p.other_id));
GRANT SELECT ON display.proximities TO tracker_core, tracker_display;

-- An event that names another tracker is hidden with that one too.
CREATE OR REPLACE VIEW display.events WITH (security_barrier) AS
    SELECT e.id, e.device_id, d.unique_id, d.account_id, e.type, e.occurred_at, e.attributes,
           e.superseded AND coalesce(e.superseded_at < least(g.hides_from, o.hides_from), true) AS superseded,
           e.decided_at, e.stored_at, e.digest, e.fence_id, f.name AS fence, e.latitude, e.longitude
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    CROSS JOIN LATERAL (
        SELECT coalesce(min(h.hides_from), 'infinity') AS hides_from FROM core.hidden h WHERE h.device_id = d.id
    ) g
    JOIN core.events e ON e.device_id = d.id AND e.occurred_at >= y.shown_from AND e.stored_at < g.hides_from
    LEFT JOIN core.fences f ON f.id = e.fence_id
    LEFT JOIN LATERAL (
        SELECT min(h.hides_from) AS hides_from FROM core.hidden h
        WHERE h.device_id IN (
            SELECT (e.attributes->>'other_id')::bigint
            UNION ALL SELECT jsonb_array_elements_text(e.attributes->'companion_ids')::bigint
        )
    ) o ON e.type IN ('proximityEnter', 'proximityExit', 'unaccompaniedMotion')
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND (o.hides_from IS NULL OR e.stored_at < o.hides_from)
      AND (d.owned_since IS NULL OR e.occurred_at >= d.owned_since);

-- So is a message about it; one that waits when that one is hidden is withheld.
ALTER TABLE core.outbox ADD COLUMN other_ids bigint[]; -- the other trackers that an alert is about
CREATE OR REPLACE VIEW display.alerts WITH (security_barrier) AS
    SELECT o.id, o.account_id, o.device_id, d.unique_id, o.rule_id, o.event_id, o.event_at, o.event_type, o.channel,
           o.recipient, o.attempts, o.error, o.created_at, o.due_at, o.delivered_at, o.failed_at, o.withheld_at,
           o.withheld, o.receipt, o.receipt_at, o.body, o.payload
    FROM core.devices d JOIN core.outbox o ON o.device_id = d.id
    WHERE o.event_id IS NOT NULL AND d.removed_at IS NULL AND o.account_id = d.account_id
      AND NOT EXISTS (
          SELECT FROM core.hidden h
          WHERE (h.device_id = d.id OR h.device_id = ANY(o.other_ids))
            AND (h.hides_from = '-infinity' OR h.hides_from <= o.created_at)
      );
