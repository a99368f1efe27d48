-- Who is told of which events, and what became of each alert.
--
-- core.alert_rules  what people asked to be told of. `rule` is alerts/rules.py's Rule; a change is told by NOTIFY,
--                   for every process keeps the rules in memory.
-- core.outbox       of an alert also: its event, its rule, the text as it was sent, what the provider's receipt
--                   said, and why it was withheld where it was. A withheld message is ended: it is never sent.

ALTER TABLE core.accounts ADD COLUMN phone text CHECK (phone <> '');

CREATE TABLE core.alert_rules (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES core.accounts ON DELETE CASCADE,
    user_id    bigint, -- who made it; null: the operator, by command
    name       text NOT NULL DEFAULT '',
    enabled    boolean NOT NULL DEFAULT true,
    rule       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX alert_rules_account ON core.alert_rules (account_id);

CREATE FUNCTION core.tell_alert_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_alert_rules', coalesce(new.account_id, old.account_id)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON core.alert_rules
    FOR EACH ROW EXECUTE FUNCTION core.tell_alert_rules();
CREATE FUNCTION core.tell_alert_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_alert_rules', new.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_alerts AFTER UPDATE OF name, zone, email, messenger, phone, language ON core.accounts
    FOR EACH ROW EXECUTE FUNCTION core.tell_alert_account();

ALTER TABLE core.outbox
    ADD COLUMN rule_id      bigint,      -- no reference: what was told stays, whatever becomes of its rule
    ADD COLUMN event_id     bigint,      -- null: no alert
    ADD COLUMN event_at     timestamptz,
    ADD COLUMN event_type   text,
    ADD COLUMN fence_id     bigint,
    ADD COLUMN body         text,        -- as it was sent, where that costs money
    ADD COLUMN receipts     text[],      -- what the provider calls its parts
    ADD COLUMN receipt      text,        -- what the provider said of it afterwards
    ADD COLUMN receipt_at   timestamptz,
    ADD COLUMN withheld_at  timestamptz,
    ADD COLUMN withheld     text CHECK (withheld <> ''), -- why: suppressed, throttled, budget, repeated, replaced, undelivered
    ADD CONSTRAINT ended_once CHECK (num_nonnulls(delivered_at, failed_at, withheld_at) <= 1),
    ADD CONSTRAINT withheld_for_a_reason CHECK ((withheld_at IS NULL) = (withheld IS NULL));

DROP INDEX core.outbox_next, core.outbox_order, core.outbox_ended, core.outbox_undelivered;
CREATE INDEX outbox_next ON core.outbox (channel, next_at, id)
    WHERE delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL;
CREATE INDEX outbox_order ON core.outbox (account_id, channel, recipient, device_id, id)
    WHERE delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL;
CREATE INDEX outbox_undelivered ON core.outbox (due_at) WHERE delivered_at IS NULL AND withheld_at IS NULL;
CREATE INDEX outbox_ended ON core.outbox (coalesce(delivered_at, failed_at, withheld_at))
    WHERE delivered_at IS NOT NULL OR failed_at IS NOT NULL OR withheld_at IS NOT NULL;
CREATE INDEX outbox_alerts ON core.outbox (account_id, channel, created_at) WHERE event_id IS NOT NULL;
CREATE INDEX outbox_rule ON core.outbox (rule_id, device_id, event_at) WHERE event_id IS NOT NULL;
CREATE INDEX outbox_receipts ON core.outbox USING gin (receipts) WHERE receipts IS NOT NULL;

-- What a customer may know of his alerts: nothing of a tracker that is hidden.
CREATE VIEW display.alerts WITH (security_barrier) AS
    SELECT o.id, o.account_id, o.device_id, d.unique_id, o.rule_id, o.event_id, o.event_at, o.event_type, o.channel,
           o.recipient, o.attempts, o.error, o.created_at, o.due_at, o.delivered_at, o.failed_at, o.withheld_at,
           o.withheld, o.receipt, o.receipt_at, o.body, o.payload
    FROM core.devices d JOIN core.outbox o ON o.device_id = d.id
    WHERE o.event_id IS NOT NULL AND d.removed_at IS NULL AND o.account_id = d.account_id
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from = '-infinity')
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id AND h.hides_from <= o.created_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON core.alert_rules TO tracker_core;
GRANT SELECT ON display.alerts TO tracker_core, tracker_display;
REVOKE ALL ON FUNCTION core.tell_alert_rules(), core.tell_alert_account() FROM PUBLIC;
