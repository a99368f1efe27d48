-- A tracker's messages through one channel to one recipient keep their order; those about no tracker, the account's.
DROP INDEX core.outbox_order;
CREATE INDEX outbox_order ON core.outbox (account_id, coalesce(device_id, 0), channel, recipient, id)
    WHERE delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL;
