-- Addresses that a geocoder told, by place (degrees times 10,000) and language; '': it knows none there.
CREATE TABLE core.addresses (
    latitude_e4  integer NOT NULL,
    longitude_e4 integer NOT NULL,
    language     text NOT NULL,
    address      text NOT NULL,
    asked_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (latitude_e4, longitude_e4, language)
);
CREATE INDEX addresses_asked ON core.addresses (asked_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.addresses TO tracker_core;
