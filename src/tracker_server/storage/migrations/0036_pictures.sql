-- Pictures of vehicles stand beside their trackers, so that a backup holds them and each process has them.

CREATE TABLE core.pictures (
    device_id bigint PRIMARY KEY REFERENCES core.devices ON DELETE CASCADE,
    name      text NOT NULL,
    content   bytea NOT NULL
);
ALTER TABLE core.pictures ALTER COLUMN content SET STORAGE EXTERNAL; -- they are compressed already
GRANT SELECT, INSERT, UPDATE, DELETE ON core.pictures TO tracker_core;
