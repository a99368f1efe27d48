-- People: who may sign in, what each may see, and the objects that a customer keeps beside his trackers.
--
-- core.users     operator's people (no account) and an account's people
-- core.sessions  a browser that signed in; only the digest of its cookie is kept
-- core.tokens    what signs in without a password, or once: bearer tokens, share links, set-up, reset. Digests, too
-- core.links     who or what was given what: a user a tracker, a group a driver. A pair is one row
-- core.audit     what people changed, append-only

CREATE TABLE core.users (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email           text NOT NULL CHECK (email <> ''),
    name            text NOT NULL,
    role            text NOT NULL CHECK (role IN ('admin', 'staff', 'owner', 'manager', 'viewer')),
    account_id      bigint REFERENCES core.accounts,
    restricted      boolean NOT NULL DEFAULT false, -- sees what was linked, not all of the account
    password        text,                           -- argon2; null: cannot sign in by one
    totp_key        text,
    readonly        boolean NOT NULL DEFAULT false,
    device_readonly boolean NOT NULL DEFAULT false,
    limit_commands  boolean NOT NULL DEFAULT false,
    disable_reports boolean NOT NULL DEFAULT false,
    fixed_email     boolean NOT NULL DEFAULT false,
    device_limit    integer NOT NULL DEFAULT -1,    -- -1: no limit
    user_limit      integer NOT NULL DEFAULT 0,     -- above 0, or -1: manages the users that he made
    disabled        boolean NOT NULL DEFAULT false,
    expires_at      timestamptz,
    phone           text NOT NULL DEFAULT '',
    preferences     jsonb NOT NULL DEFAULT '{}',    -- map, latitude, longitude, zoom, coordinateFormat …
    attributes      jsonb NOT NULL DEFAULT '{}',
    created_by      bigint REFERENCES core.users ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((role IN ('admin', 'staff')) = (account_id IS NULL))
);
CREATE UNIQUE INDEX users_email ON core.users (lower(email));
CREATE INDEX users_account ON core.users (account_id);
CREATE INDEX users_created_by ON core.users (created_by);

-- kind  access: signs in as its user · share: a guest sees one tracker or group · setup: makes the first
--       administrator · reset: sets a password, once
CREATE TABLE core.tokens (
    digest      bytea PRIMARY KEY,
    id          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    kind        text NOT NULL CHECK (kind IN ('access', 'share', 'setup', 'reset')),
    user_id     bigint REFERENCES core.users ON DELETE CASCADE, -- of a share: who shares
    device_id   bigint REFERENCES core.devices ON DELETE CASCADE,
    group_id    bigint,
    rights      text[],      -- null: all that its user has
    label       text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    CHECK ((kind = 'setup') = (user_id IS NULL))
);
CREATE INDEX tokens_user ON core.tokens (user_id);

CREATE TABLE core.sessions (
    digest       bytea PRIMARY KEY,
    user_id      bigint NOT NULL REFERENCES core.users ON DELETE CASCADE,
    token_digest bytea REFERENCES core.tokens ON DELETE CASCADE, -- opened by a token: ends with it
    actor_id     bigint REFERENCES core.users ON DELETE CASCADE, -- an administrator in another's place
    address      text NOT NULL DEFAULT '',
    agent        text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    seen_at      timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sessions_user ON core.sessions (user_id);
CREATE INDEX sessions_token ON core.sessions (token_digest);
CREATE INDEX sessions_expires ON core.sessions (expires_at);

CREATE TABLE core.links (
    owner     text NOT NULL CHECK (owner IN ('user', 'group', 'device')),
    owner_id  bigint NOT NULL,
    kind      text NOT NULL,
    object_id bigint NOT NULL,
    PRIMARY KEY (owner, owner_id, kind, object_id)
);
CREATE INDEX links_object ON core.links (kind, object_id);

CREATE TABLE core.audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    account_id bigint,
    user_id    bigint,      -- in whose name
    actor_id   bigint,      -- who it was, where that is another
    address    text NOT NULL DEFAULT '',
    action     text NOT NULL,
    kind       text NOT NULL DEFAULT '',
    object_id  bigint,
    detail     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON core.audit (at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON core.audit
    FOR EACH ROW EXECUTE FUNCTION core.refuse_change();

-- ------------------------------------------------------------------------ what a customer keeps

CREATE TABLE core.groups (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES core.accounts,
    name       text NOT NULL CHECK (name <> ''),
    group_id   bigint REFERENCES core.groups ON DELETE SET NULL, -- the group that it is in
    attributes jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX groups_account ON core.groups (account_id);
CREATE INDEX groups_group ON core.groups (group_id);
ALTER TABLE core.tokens ADD FOREIGN KEY (group_id) REFERENCES core.groups ON DELETE CASCADE;

CREATE TABLE core.drivers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES core.accounts,
    name       text NOT NULL CHECK (name <> ''),
    unique_id  text NOT NULL CHECK (unique_id <> ''),
    attributes jsonb NOT NULL DEFAULT '{}',
    UNIQUE (account_id, unique_id)
);

CREATE TABLE core.maintenance (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES core.accounts,
    name       text NOT NULL CHECK (name <> ''),
    type       text NOT NULL CHECK (type <> ''), -- the attribute that is watched: totalDistance, hours …
    start      double precision NOT NULL DEFAULT 0,
    period     double precision NOT NULL DEFAULT 0,
    attributes jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX maintenance_account ON core.maintenance (account_id);

CREATE TABLE core.calendars (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES core.accounts,
    name       text NOT NULL CHECK (name <> ''),
    data       text NOT NULL, -- iCalendar
    attributes jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX calendars_account ON core.calendars (account_id);

CREATE TABLE core.commands (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   bigint NOT NULL REFERENCES core.accounts,
    description  text NOT NULL DEFAULT '',
    type         text NOT NULL CHECK (type <> ''),
    text_channel boolean NOT NULL DEFAULT false,
    attributes   jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX commands_account ON core.commands (account_id);

CREATE TABLE core.computed_attributes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  bigint NOT NULL REFERENCES core.accounts,
    description text NOT NULL DEFAULT '',
    attribute   text NOT NULL CHECK (attribute <> ''),
    expression  text NOT NULL CHECK (expression <> ''),
    type        text NOT NULL CHECK (type IN ('string', 'number', 'boolean')),
    priority    integer NOT NULL DEFAULT 0
);
CREATE INDEX computed_attributes_account ON core.computed_attributes (account_id);

ALTER TABLE core.devices
    ADD COLUMN group_id bigint REFERENCES core.groups ON DELETE SET NULL,
    ADD COLUMN calendar_id bigint REFERENCES core.calendars ON DELETE SET NULL,
    ADD COLUMN category text NOT NULL DEFAULT '',
    ADD COLUMN phone text NOT NULL DEFAULT '',
    ADD COLUMN model text NOT NULL DEFAULT '',
    ADD COLUMN contact text NOT NULL DEFAULT '',
    ADD COLUMN attributes jsonb NOT NULL DEFAULT '{}';
CREATE INDEX devices_group ON core.devices (group_id) WHERE group_id IS NOT NULL;

-- The operator's choices that the API may change (`PUT /api/server`).
CREATE TABLE core.server (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    choices jsonb NOT NULL DEFAULT '{}'
);
INSERT INTO core.server DEFAULT VALUES;

-- What people wrote on a tracker's card. No gate: nothing in it comes from the tracker.
CREATE VIEW display.cards WITH (security_barrier) AS
    SELECT id AS device_id, account_id, unique_id, name, priority, test, group_id, calendar_id, category, phone, model,
           contact, attributes, created_at
    FROM core.devices WHERE removed_at IS NULL;

-- ------------------------------------------------------------------------ told at once

-- Whoever keeps in memory who may see what hears that it may have changed.
CREATE FUNCTION core.tell_people() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tracker_people', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_people AFTER UPDATE OR DELETE ON core.users
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_people();
CREATE TRIGGER tell_people AFTER UPDATE OR DELETE ON core.tokens
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_people();
CREATE TRIGGER tell_people AFTER DELETE ON core.sessions
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_people();
CREATE TRIGGER tell_people AFTER INSERT OR UPDATE OR DELETE ON core.links
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_people();
CREATE TRIGGER tell_people AFTER INSERT OR UPDATE OR DELETE ON core.groups
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_people();
CREATE TRIGGER tell_people AFTER INSERT OR UPDATE OF group_id, account_id, removed_at OR DELETE ON core.devices
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_people();

GRANT SELECT, INSERT, UPDATE, DELETE ON core.users, core.tokens, core.sessions, core.links, core.groups, core.drivers,
    core.maintenance, core.calendars, core.commands, core.computed_attributes TO tracker_core;
GRANT SELECT, INSERT ON core.audit TO tracker_core;
GRANT SELECT, UPDATE ON core.server TO tracker_core;
GRANT SELECT ON display.cards TO tracker_core, tracker_display;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA core TO tracker_core;
REVOKE ALL ON FUNCTION core.tell_people() FROM PUBLIC;
