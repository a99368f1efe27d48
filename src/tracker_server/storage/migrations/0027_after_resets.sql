-- An hour after a tracker was told to restart it is looked at, once: whether a correct position came (rule R112).

ALTER TABLE core.command_queue
    ADD COLUMN looked_at timestamptz,
    ADD COLUMN silent boolean NOT NULL DEFAULT false; -- none came: support was told
CREATE INDEX command_queue_resets ON core.command_queue (sent_at) WHERE type = 'rebootDevice' AND looked_at IS NULL;
