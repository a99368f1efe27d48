-- Which sessions the brokers that we subscribe to keep for us, and to what they are subscribed: so that a process which is no
-- more leaves nothing at a broker, nor a topic that was taken out of the settings.
CREATE TABLE core.mqtt_members (
    broker    text NOT NULL CHECK (broker <> ''),
    client_id text NOT NULL CHECK (client_id <> ''),
    process   int NOT NULL CHECK (process >= 0),
    filters   text[] NOT NULL,
    PRIMARY KEY (broker, client_id, process)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.mqtt_members TO tracker_core;
