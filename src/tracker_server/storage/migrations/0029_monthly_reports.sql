-- The monthly report of each account, ordered once: the row is written with its message.
CREATE TABLE core.monthly_reports (
    account_id bigint NOT NULL REFERENCES core.accounts ON DELETE CASCADE,
    month      date NOT NULL CHECK (extract(day FROM month) = 1),
    PRIMARY KEY (account_id, month)
);
GRANT SELECT, INSERT ON core.monthly_reports TO tracker_core;
