-- A visit that is owed for an invoice: to be agreed on before due_at, or the operator is told, once.
CREATE TABLE core.installations (
    invoice_id   bigint PRIMARY KEY REFERENCES core.invoices ON DELETE CASCADE,
    due_at       timestamptz NOT NULL,
    scheduled_at timestamptz, -- when we were told of the visit
    visit_at     timestamptz,
    told_at      timestamptz -- that it was not agreed on in time
);
CREATE INDEX installations_due ON core.installations (due_at) WHERE scheduled_at IS NULL AND told_at IS NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON core.installations TO tracker_core;
