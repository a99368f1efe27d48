-- What a tariff allows, and what it leaves out: how many fences and people an account may have, how many SMS in a month, and
-- which features it is without. Fences and people are counted here, so that no way of adding one can forget it.

ALTER TABLE core.tariffs
    ADD COLUMN fences_max integer CHECK (fences_max >= 0),
    ADD COLUMN users_max  integer CHECK (users_max >= 0),
    ADD COLUMN sms_max    integer CHECK (sms_max >= 0), -- in a calendar month of the account's zone
    ADD COLUMN without    text[] NOT NULL DEFAULT '{}';

-- What is there stays under a tariff that allows less; nothing is added until it is less. The account's row is locked, so that
-- two at once cannot both be the last.
CREATE FUNCTION core.hold_limit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    tariff text;
    most   integer;
    there  bigint;
BEGIN
    EXECUTE format('SELECT t.name, t.%I FROM core.accounts a JOIN core.tariffs t ON t.id = a.tariff_id WHERE a.id = $1', tg_argv[0])
        INTO tariff, most USING new.account_id;
    IF most IS NULL THEN
        RETURN new;
    END IF;
    PERFORM FROM core.accounts WHERE id = new.account_id FOR NO KEY UPDATE;
    IF tg_table_name = 'fences' THEN
        SELECT count(*) INTO there FROM core.fences WHERE account_id = new.account_id AND removed_at IS NULL;
    ELSE
        SELECT count(*) INTO there FROM core.users WHERE account_id = new.account_id; -- disabled ones too
    END IF;
    IF there >= most THEN
        RAISE check_violation USING CONSTRAINT = tg_argv[0], MESSAGE = format(
            'the tariff %L allows %s %s, and the account has %s; remove one, or change to a tariff with more',
            tariff, most, tg_argv[1], there);
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER hold_limit BEFORE INSERT ON core.fences
    FOR EACH ROW EXECUTE FUNCTION core.hold_limit('fences_max', 'fences');
CREATE TRIGGER hold_limit BEFORE INSERT ON core.users
    FOR EACH ROW WHEN (new.account_id IS NOT NULL) EXECUTE FUNCTION core.hold_limit('users_max', 'people');
CREATE TRIGGER hold_limit_moved BEFORE UPDATE OF account_id ON core.users
    FOR EACH ROW WHEN (new.account_id IS NOT NULL AND new.account_id IS DISTINCT FROM old.account_id)
    EXECUTE FUNCTION core.hold_limit('users_max', 'people');
REVOKE ALL ON FUNCTION core.hold_limit() FROM PUBLIC;

-- When what was received has a feature, as billing derives it from the tariffs that an account was on: a row for each feature that
-- one of them is without. No row: always. What counts is when a report was received, not when it was made.
CREATE TABLE core.features (
    account_id bigint NOT NULL REFERENCES core.accounts ON DELETE CASCADE,
    feature    text NOT NULL,
    spans      tstzmultirange NOT NULL,
    PRIMARY KEY (account_id, feature)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.features TO tracker_core;

CREATE OR REPLACE VIEW display.positions WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol,
           CASE WHEN x.spans IS NULL OR x.spans @> p.received_at THEN p.attributes ELSE '{}' END AS attributes, p.digest, p.network
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    LEFT JOIN core.features x ON x.account_id = d.account_id AND x.feature = 'sensors'
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.positions p ON p.device_id = d.id AND p.fixed_at >= y.shown_from AND p.received_at < g.hides_from
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND (g.unpaid IS NULL OR NOT g.unpaid @> p.fixed_at)
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since));

CREATE OR REPLACE VIEW display.latest WITH (security_barrier) AS
    SELECT p.id, p.device_id, d.unique_id, d.account_id, p.fixed_at, p.received_at, p.stored_at, p.latitude, p.longitude,
           p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol,
           CASE WHEN x.spans IS NULL OR x.spans @> p.received_at THEN p.attributes ELSE '{}' END AS attributes,
           s.odometer_mm + d.odometer_offset_mm AS odometer_mm, s.moving, s.fence_ids, p.network,
           s.engine_us + d.engine_offset_us AS engine_us
    FROM core.devices d
    JOIN core.device_state s ON s.device_id = d.id
    LEFT JOIN core.features x ON x.account_id = d.account_id AND x.feature = 'sensors'
    CROSS JOIN LATERAL (SELECT o.unpaid FROM core.shown o WHERE o.device_id = d.id OFFSET 0) g
    JOIN core.positions p ON p.device_id = d.id AND p.fixed_at = s.latest_fixed_at AND p.digest = s.latest_digest
    WHERE d.removed_at IS NULL AND (g.unpaid IS NULL OR NOT g.unpaid @> p.fixed_at)
      AND (d.owned_since IS NULL OR (p.fixed_at >= d.owned_since AND p.received_at >= d.owned_since))
      AND NOT EXISTS (SELECT FROM core.hidden h WHERE h.device_id = d.id);

CREATE OR REPLACE VIEW display.telemetry WITH (security_barrier) AS
    SELECT t.device_id, d.unique_id, d.account_id, t.sent_at, t.received_at, t.kind, t.protocol,
           CASE WHEN x.spans IS NULL OR x.spans @> t.received_at OR t.kind = 'command_result' THEN t.attributes ELSE '{}' END
               AS attributes
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    LEFT JOIN core.features x ON x.account_id = d.account_id AND x.feature = 'sensors'
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.telemetry t ON t.device_id = d.id AND t.sent_at >= y.shown_from AND t.received_at < g.hides_from
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND (g.unpaid IS NULL OR NOT g.unpaid @> t.sent_at)
      AND (d.owned_since IS NULL OR (t.sent_at >= d.owned_since AND t.received_at >= d.owned_since));

-- A trip was received when its row was written; so was a stop.
CREATE OR REPLACE VIEW display.trips WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.start_latitude, t.start_longitude, t.start_digest, t.end_latitude, t.end_longitude, t.end_digest,
           t.distance_mm, t.odometer_start_mm + d.odometer_offset_mm AS odometer_start_mm, t.speed_max_mps, t.fuel_start,
           t.fuel_end, t.driver_unique_id, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    LEFT JOIN core.features x ON x.account_id = d.account_id AND x.feature = 'trips'
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.trips t ON t.device_id = d.id AND (t.ended_at IS NULL OR t.ended_at >= y.shown_from)
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND t.stored_at < g.hides_from
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND (g.unpaid IS NULL OR NOT g.unpaid && tstzrange(t.started_at, t.ended_at, '[]'))
      AND (x.spans IS NULL OR x.spans @> t.stored_at)
      AND (t.superseded_at IS NULL OR g.hides_from <= t.superseded_at);

CREATE OR REPLACE VIEW display.stops WITH (security_barrier) AS
    SELECT t.id, t.device_id, d.unique_id, d.account_id, t.started_at, t.ended_at, t.decided_at,
           t.latitude, t.longitude, t.digest, t.engine_us, t.stored_at
    FROM core.devices d
    JOIN core.history y ON y.account_id = d.account_id
    LEFT JOIN core.features x ON x.account_id = d.account_id AND x.feature = 'trips'
    CROSS JOIN LATERAL (SELECT s.hides_from, s.unpaid FROM core.shown s WHERE s.device_id = d.id OFFSET 0) g
    JOIN core.stops t ON t.device_id = d.id AND (t.ended_at IS NULL OR t.ended_at >= y.shown_from)
    WHERE d.removed_at IS NULL AND g.hides_from <> '-infinity' AND t.stored_at < g.hides_from
      AND (d.owned_since IS NULL OR t.started_at >= d.owned_since)
      AND (g.unpaid IS NULL OR NOT g.unpaid && tstzrange(t.started_at, t.ended_at, '[]'))
      AND (x.spans IS NULL OR x.spans @> t.stored_at)
      AND (t.superseded_at IS NULL OR g.hides_from <= t.superseded_at);
