-- How devices behind brokers are told something, so that a restart of ours need not wait for their next report: through
-- which broker (its name in the settings), and under which topic; an empty one is mqtt.commands_topic.
CREATE TABLE core.mqtt_ways (
    unique_id text PRIMARY KEY CHECK (unique_id <> ''),
    broker    text NOT NULL CHECK (broker <> ''),
    topic     text NOT NULL,
    heard_at  timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.mqtt_ways TO tracker_core;
