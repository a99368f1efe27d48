-- Whoever keeps the rules in memory hears of each account whose rules are linked to other trackers or groups, so that of the
-- changes to people only those of its accounts matter to it.

CREATE FUNCTION core.tell_linked_rule() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    link core.links := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM pg_notify('tracker_alert_rules', r.account_id::text) FROM core.alert_rules r WHERE r.id = link.object_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_linked_rule AFTER INSERT OR UPDATE ON core.links
    FOR EACH ROW WHEN (NEW.kind = 'notification') EXECUTE FUNCTION core.tell_linked_rule();
CREATE TRIGGER tell_unlinked_rule AFTER DELETE ON core.links
    FOR EACH ROW WHEN (OLD.kind = 'notification') EXECUTE FUNCTION core.tell_linked_rule();
REVOKE ALL ON FUNCTION core.tell_linked_rule() FROM PUBLIC;

-- Of an SMS it is told whether its provider says afterwards what became of it.
CREATE OR REPLACE VIEW display.alerts WITH (security_barrier) AS
    SELECT o.id, o.account_id, o.device_id, d.unique_id, o.rule_id, o.event_id, o.event_at, o.event_type, o.channel,
           o.recipient, o.attempts, o.error, o.created_at, o.due_at, o.delivered_at, o.failed_at, o.withheld_at,
           o.withheld, o.receipt, o.receipt_at, o.body, o.payload, o.other_ids, o.receipts IS NOT NULL AS receipt_due
    FROM core.devices d JOIN core.outbox o ON o.device_id = d.id
    WHERE o.event_id IS NOT NULL AND d.removed_at IS NULL AND o.account_id = d.account_id
      AND NOT EXISTS (
          SELECT FROM core.shown s
          WHERE (s.device_id = d.id OR s.device_id = ANY(o.other_ids))
            AND (s.hides_from <= o.created_at OR s.unpaid @> o.event_at)
      );
