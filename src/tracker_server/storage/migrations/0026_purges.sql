-- What a tracker recorded while it was blocked is kept for billing.blocked_keep_days, where the operator sets a limit, and
-- deleted only as announced: from purge_at on, which the management row shows and which is told three times before.

CREATE TABLE core.purges (
    device_id bigint PRIMARY KEY REFERENCES core.devices ON DELETE CASCADE,
    since     timestamptz NOT NULL, -- when the block began that this is about
    purge_at  timestamptz NOT NULL, -- nothing is deleted before
    told      integer NOT NULL DEFAULT 0 -- of the three notices
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.purges TO tracker_core;

CREATE OR REPLACE VIEW display.management WITH (security_barrier) AS
    SELECT m.device_id, d.unique_id, d.account_id, d.name, d.priority, d.test, m.state, m.reason, m.note, m.since,
           m.due_minor, a.currency, date_trunc('hour', s.contact_at, 'UTC') AS last_contact, m.waiting, g.purge_at
    FROM core.management m
    JOIN core.devices d ON d.id = m.device_id
    JOIN core.accounts a ON a.id = d.account_id
    JOIN core.device_state s ON s.device_id = d.id
    LEFT JOIN core.purges g ON g.device_id = d.id AND m.state = 'blocked';
