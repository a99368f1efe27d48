-- What is to be told to whom: an outbox that survives everything, and the notices of money that were written.
--
-- core.outbox   one row for one message through one channel. Written in the transaction of its cause; the
--               dispatcher delivers it at least once. `key` keeps the same message from being written twice.
-- core.notices  what a customer was told about money, whether or not there was an address to send it to.
--               `covers` names each occasion, level and tracker, so that none is told twice.

ALTER TABLE core.accounts
    ADD COLUMN email text CHECK (email <> ''),
    ADD COLUMN messenger text CHECK (messenger <> ''),
    ADD COLUMN language text NOT NULL DEFAULT 'en' CHECK (language ~ '^[a-z]{2}$');

CREATE TABLE core.outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text NOT NULL UNIQUE CHECK (key <> ''),
    channel      text NOT NULL CHECK (channel <> ''),
    recipient    text NOT NULL CHECK (recipient <> ''),
    account_id   bigint REFERENCES core.accounts,
    device_id    bigint REFERENCES core.devices ON DELETE SET NULL,
    payload      jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    due_at       timestamptz NOT NULL, -- not to be sent before; its age counts from here
    next_at      timestamptz NOT NULL, -- when it is tried next
    attempts     integer NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    failed_at    timestamptz,          -- given up; `outbox list` shows it, `outbox retry` begins again
    error        text,                 -- of the last attempt that failed
    CHECK (delivered_at IS NULL OR failed_at IS NULL)
);
CREATE INDEX outbox_next ON core.outbox (next_at, id) WHERE delivered_at IS NULL AND failed_at IS NULL;
CREATE INDEX outbox_order ON core.outbox (account_id, channel, recipient, id)
    WHERE delivered_at IS NULL AND failed_at IS NULL;
CREATE INDEX outbox_ended ON core.outbox (coalesce(delivered_at, failed_at))
    WHERE delivered_at IS NOT NULL OR failed_at IS NOT NULL;
CREATE INDEX outbox_undelivered ON core.outbox (due_at) WHERE delivered_at IS NULL;
CREATE INDEX outbox_device ON core.outbox (device_id) WHERE device_id IS NOT NULL;

CREATE TABLE core.notices (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES core.accounts,
    key        text NOT NULL,
    kind       text NOT NULL,
    level      integer NOT NULL,
    covers     text[] NOT NULL,
    payload    jsonb,           -- null: its moment was over before its cause came about, so it was not told
    falls_at   timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (account_id, key)
);

-- next_notice_at  when the account is to be looked at for notices; null: nothing can fall due
-- armed_at        since the last look something happened that may move notices, at this instant or later
ALTER TABLE core.billing
    ADD COLUMN next_notice_at timestamptz,
    ADD COLUMN armed_at timestamptz;
CREATE INDEX billing_notice ON core.billing (next_notice_at);
UPDATE core.billing SET next_notice_at = now(), armed_at = now();

CREATE FUNCTION core.tell_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_outbox', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT ON core.outbox FOR EACH STATEMENT EXECUTE FUNCTION core.tell_outbox();

CREATE FUNCTION core.tell_notices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_notices', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_notices AFTER UPDATE OF next_notice_at ON core.billing
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_notices();

-- A price that changes moves the day on which the money ends.
CREATE OR REPLACE FUNCTION core.price_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    UPDATE core.billing b
    SET next_due_at = least(b.next_due_at, now()), next_notice_at = least(b.next_notice_at, now()),
        armed_at = least(b.armed_at, b.next_notice_at, now())
    FROM core.accounts a WHERE a.id = b.account_id AND a.tariff_id = new.tariff_id;
    PERFORM pg_notify('tracker_billing', '');
    RETURN NULL;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON core.outbox TO tracker_core;
GRANT SELECT, INSERT ON core.notices TO tracker_core;
REVOKE ALL ON FUNCTION core.tell_outbox(), core.tell_notices() FROM PUBLIC;
