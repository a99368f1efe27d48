-- Money: a journal of what happened to each account, append-only, and the state that it folds to.
--
-- core.journal is the truth. core.billing holds its fold, so that a command need not read it all, and when
-- the next thing falls due. core.ledger shows the entries of money in it. Blocks that billing sets are
-- derived from the state and written in the same transaction.

ALTER TABLE core.tariffs
    ADD COLUMN mode text NOT NULL DEFAULT 'free' CHECK (mode IN ('free', 'balance', 'term')),
    ADD COLUMN features text[] NOT NULL DEFAULT '{}',
    ADD COLUMN history_days integer CHECK (history_days > 0);

-- Versions of a tariff's prices, in minor units. A version is never changed; '-infinity' is the first.
CREATE TABLE core.tariff_prices (
    tariff_id     bigint NOT NULL REFERENCES core.tariffs,
    since         date NOT NULL,
    monthly_minor bigint NOT NULL CHECK (monthly_minor >= 0),
    sms_minor     bigint CHECK (sms_minor >= 0),
    set_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tariff_id, since)
);
INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor) SELECT id, '-infinity', monthly_minor FROM core.tariffs;
UPDATE core.tariffs SET mode = 'balance' WHERE monthly_minor > 0;
ALTER TABLE core.tariffs DROP COLUMN monthly_minor;

CREATE TABLE core.billing (
    account_id  bigint PRIMARY KEY REFERENCES core.accounts,
    opening     jsonb NOT NULL,  -- the state before the first fact
    state       jsonb NOT NULL,  -- the state after the last; rebuilt from opening and journal at any time
    facts       bigint NOT NULL, -- the number of the last
    settled_to  timestamptz NOT NULL,
    next_due_at timestamptz      -- null: nothing falls due by time alone
) WITH (fillfactor = 50);
CREATE INDEX billing_due ON core.billing (next_due_at);

CREATE TABLE core.journal (
    account_id bigint NOT NULL REFERENCES core.accounts,
    number     bigint NOT NULL CHECK (number > 0),
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    device     text,
    key        text, -- of what may happen once: a transfer's id, or an accepted command's
    fact       jsonb NOT NULL,
    stored_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, number)
);
CREATE UNIQUE INDEX journal_key ON core.journal (account_id, key) WHERE key IS NOT NULL;

CREATE FUNCTION core.postings_sum(transfer jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(sum((posting->>'amount_minor')::numeric), 0) FROM jsonb_array_elements(transfer->'postings') posting
$$;
ALTER TABLE core.journal
    ADD CONSTRAINT money_has_a_key CHECK (kind <> 'Booked' OR key IS NOT NULL),
    ADD CONSTRAINT no_other_kind_of_entry CHECK (kind <> 'Booked' OR fact #>> '{entry,transfer,kind}' IN
        ('topup', 'connection', 'daily', 'term', 'sms', 'refund', 'reversal')),
    ADD CONSTRAINT sums_to_zero CHECK (kind <> 'Booked' OR core.postings_sum(fact #> '{entry,transfer}') = 0),
    ADD CONSTRAINT never_below_zero CHECK (kind <> 'Booked' OR (fact #>> '{entry,balance_minor}')::bigint >= 0);

CREATE FUNCTION core.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: a mistake is reversed by another entry', tg_table_name
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON core.journal
    FOR EACH ROW EXECUTE FUNCTION core.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON core.journal
    FOR EACH STATEMENT EXECUTE FUNCTION core.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON core.tariff_prices
    FOR EACH ROW EXECUTE FUNCTION core.refuse_change();

CREATE VIEW core.ledger AS
    SELECT account_id, (fact #>> '{entry,number}')::bigint AS number, at, fact #>> '{entry,transfer,kind}' AS kind,
           fact #>> '{entry,transfer,device}' AS device, (fact #>> '{entry,transfer,day}')::date AS day,
           (fact #>> '{entry,transfer,amount_minor}')::bigint AS amount_minor,
           (fact #>> '{entry,balance_minor}')::bigint AS balance_minor,
           fact #>> '{entry,transfer,currency}' AS currency, key, fact #>> '{entry,hash}' AS hash
    FROM core.journal WHERE kind = 'Booked';

-- A tracker that is added, moved or removed, or a price that changes, is billing's business at once: the
-- account falls due, and whoever keeps the clock hears of it.
CREATE FUNCTION core.bill_now() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    UPDATE core.billing SET next_due_at = least(next_due_at, now()) WHERE account_id = new.account_id;
    PERFORM pg_notify('tracker_billing', '');
    RETURN NULL;
END $$;
CREATE TRIGGER bill_now AFTER INSERT OR UPDATE OF account_id, priority, test, removed_at ON core.devices
    FOR EACH ROW EXECUTE FUNCTION core.bill_now();

CREATE FUNCTION core.price_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp AS $$
BEGIN
    UPDATE core.billing b SET next_due_at = least(b.next_due_at, now())
    FROM core.accounts a WHERE a.id = b.account_id AND a.tariff_id = new.tariff_id;
    PERFORM pg_notify('tracker_billing', '');
    RETURN NULL;
END $$;
CREATE TRIGGER price_changed AFTER INSERT ON core.tariff_prices
    FOR EACH ROW EXECUTE FUNCTION core.price_changed();

CREATE FUNCTION core.tell_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_billing', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_due AFTER INSERT OR UPDATE OF next_due_at ON core.billing
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_due();

GRANT SELECT, INSERT ON core.journal, core.tariff_prices TO tracker_core;
GRANT SELECT, INSERT, UPDATE ON core.billing TO tracker_core;
GRANT SELECT ON core.ledger TO tracker_core;
REVOKE ALL ON FUNCTION core.postings_sum(jsonb), core.refuse_change(), core.bill_now(), core.price_changed(), core.tell_due()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.postings_sum(jsonb) TO tracker_core; -- a CHECK runs as whoever inserts
