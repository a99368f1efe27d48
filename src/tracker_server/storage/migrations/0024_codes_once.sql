-- The time step of the last code of an authenticator that signed somebody in: neither it nor an older one does so again.
ALTER TABLE core.users ADD COLUMN totp_step bigint NOT NULL DEFAULT 0;
