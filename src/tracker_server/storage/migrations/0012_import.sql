-- What was brought over from another server: which of its objects is which of ours, and how far each history has come, so
-- that an import that was cut short goes on where it was.

CREATE TABLE core.import_map (
    source    text NOT NULL, -- the name that the operator gave the other server
    kind      text NOT NULL,
    source_id bigint NOT NULL,
    our_id    bigint NOT NULL,
    PRIMARY KEY (source, kind, source_id)
);

CREATE TABLE core.import_progress (
    source    text NOT NULL,
    device_id bigint NOT NULL REFERENCES core.devices ON DELETE CASCADE,
    fixed_at  timestamptz NOT NULL, -- all before this fix, and it, are here
    source_id bigint NOT NULL,
    PRIMARY KEY (source, device_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON core.import_map, core.import_progress TO tracker_core;
