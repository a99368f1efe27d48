-- An event of two trackers is there for who may see both: what reads it has to know of which others it tells.
CREATE OR REPLACE VIEW display.events WITH (security_barrier) AS
    SELECT e.id, e.device_id, d.unique_id, d.account_id, e.type, e.occurred_at, e.attributes,
           e.superseded AND coalesce(e.superseded_at < least(g.hides_from, o.hides_from), true) AS superseded,
           e.decided_at, e.stored_at, e.digest, e.fence_id, f.name AS fence, e.latitude, e.longitude, o.ids AS other_ids
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    CROSS JOIN LATERAL (
        SELECT coalesce(min(h.hides_from), 'infinity') AS hides_from FROM core.hidden h WHERE h.device_id = d.id
    ) g
    JOIN core.events e ON e.device_id = d.id AND e.occurred_at >= y.shown_from AND e.stored_at < g.hides_from
    LEFT JOIN core.fences f ON f.id = e.fence_id
    LEFT JOIN LATERAL (
        SELECT array_agg(n.id) AS ids, min(h.hides_from) AS hides_from
        FROM (
            SELECT (e.attributes->>'other_id')::bigint AS id WHERE e.attributes ? 'other_id'
            UNION ALL SELECT jsonb_array_elements_text(e.attributes->'companion_ids')::bigint
        ) n LEFT JOIN core.hidden h ON h.device_id = n.id
    ) o ON e.type IN ('proximityEnter', 'proximityExit', 'unaccompaniedMotion')
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND (o.hides_from IS NULL OR e.stored_at < o.hides_from)
      AND (d.owned_since IS NULL OR e.occurred_at >= d.owned_since);

CREATE OR REPLACE VIEW display.alerts WITH (security_barrier) AS
    SELECT o.id, o.account_id, o.device_id, d.unique_id, o.rule_id, o.event_id, o.event_at, o.event_type, o.channel,
           o.recipient, o.attempts, o.error, o.created_at, o.due_at, o.delivered_at, o.failed_at, o.withheld_at,
           o.withheld, o.receipt, o.receipt_at, o.body, o.payload, o.other_ids
    FROM core.devices d JOIN core.outbox o ON o.device_id = d.id
    WHERE o.event_id IS NOT NULL AND d.removed_at IS NULL AND o.account_id = d.account_id
      AND NOT EXISTS (
          SELECT FROM core.hidden h
          WHERE (h.device_id = d.id OR h.device_id = ANY(o.other_ids))
            AND (h.hides_from = '-infinity' OR h.hides_from <= o.created_at)
      );
