-- Money from outside: payments through gateways, what the gateways told, what goes back through them, and the papers.
--
-- core.payments        one row for one payment that a customer was asked for. `id` is unguessable: it is in a link.
-- core.gateway_events  each thing that a gateway told us, once; what came before its payment was known waits.
-- core.payouts         an outbox of refunds: written with the refund's entry, sent to the gateway until it takes them.
-- core.invoices        papers, whole, numbered without gaps in each series; never changed.

ALTER TABLE core.accounts
    ADD COLUMN address text NOT NULL DEFAULT '',
    ADD COLUMN country text CHECK (country ~ '^[A-Z]{2}$'),
    ADD COLUMN tax_id  text CHECK (tax_id <> '');
CREATE INDEX accounts_tax_id ON core.accounts (tax_id) WHERE tax_id IS NOT NULL;

-- Who sells, as it stands on the papers of today. Written when the server starts.
CREATE TABLE core.seller (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    details jsonb NOT NULL
);

CREATE TABLE core.payments (
    id             text PRIMARY KEY CHECK (id ~ '^[0-9a-z]{24,64}$'),
    account_id     bigint NOT NULL REFERENCES core.accounts,
    key            text CHECK (key <> ''), -- of whoever asked for it; the same again is the same payment
    gateway        text CHECK (gateway <> ''), -- null: the payer has not chosen yet
    state          text NOT NULL CHECK (state <> ''),
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    cart           jsonb NOT NULL DEFAULT '[]',
    reference      text, -- the gateway's name for the checkout
    charge         text, -- and for the money that moved
    means          text NOT NULL DEFAULT '',
    url            text NOT NULL DEFAULT '',
    detail         text NOT NULL DEFAULT '', -- what is to be looked at, in words
    created_at     timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    paid_at        timestamptz
);
CREATE UNIQUE INDEX payments_reference ON core.payments (gateway, reference) WHERE reference IS NOT NULL;
CREATE UNIQUE INDEX payments_charge ON core.payments (gateway, charge) WHERE charge IS NOT NULL;
CREATE UNIQUE INDEX payments_key ON core.payments (account_id, key) WHERE key IS NOT NULL;
CREATE INDEX payments_account ON core.payments (account_id, created_at);

CREATE TABLE core.gateway_events (
    gateway     text NOT NULL,
    id          text NOT NULL,
    received_at timestamptz NOT NULL,
    event       jsonb NOT NULL,
    reference   text, -- what it is about, while no payment of that name is known
    payment_id  text REFERENCES core.payments,
    outcome     text NOT NULL,
    PRIMARY KEY (gateway, id)
);
CREATE INDEX gateway_events_waiting ON core.gateway_events (gateway, reference) WHERE outcome = 'waiting';
CREATE INDEX gateway_events_payment ON core.gateway_events (payment_id);

CREATE TABLE core.payouts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text NOT NULL UNIQUE, -- handed to the gateway: it carries the same out once
    account_id   bigint NOT NULL REFERENCES core.accounts,
    payment_id   text NOT NULL REFERENCES core.payments,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency     text NOT NULL,
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'done', 'failed')),
    attempts     integer NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL,
    reference    text, -- the gateway's name for it
    error        text,
    created_at   timestamptz NOT NULL,
    changed_at   timestamptz NOT NULL
);
CREATE INDEX payouts_next ON core.payouts (next_at) WHERE state = 'waiting';
CREATE INDEX payouts_payment ON core.payouts (payment_id);

CREATE FUNCTION core.tell_payouts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_payouts', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OF next_at ON core.payouts
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_payouts();

-- The last number that was taken. Taking one locks its series until the payment is committed: that is what keeps
-- the numbers without gaps.
CREATE TABLE core.invoice_series (
    series text PRIMARY KEY CHECK (series <> ''),
    last   bigint NOT NULL CHECK (last >= 0)
);
CREATE TABLE core.invoices (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   bigint NOT NULL REFERENCES core.accounts,
    key          text NOT NULL, -- the id of the transfer that it is for
    kind         text NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
    series       text NOT NULL REFERENCES core.invoice_series,
    number       bigint NOT NULL CHECK (number > 0),
    name         text NOT NULL UNIQUE, -- as printed: series and number
    issued_at    timestamptz NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    currency     text NOT NULL,
    paper        jsonb NOT NULL,
    UNIQUE (series, number),
    UNIQUE (account_id, key)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON core.invoices
    FOR EACH ROW EXECUTE FUNCTION core.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON core.invoices
    FOR EACH STATEMENT EXECUTE FUNCTION core.refuse_change();

GRANT SELECT, INSERT, UPDATE ON core.payments, core.gateway_events, core.payouts, core.invoice_series TO tracker_core;
GRANT SELECT, INSERT ON core.invoices TO tracker_core;
GRANT SELECT ON core.seller TO tracker_core;
REVOKE ALL ON FUNCTION core.tell_payouts() FROM PUBLIC;
