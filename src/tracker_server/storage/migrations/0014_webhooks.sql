-- What an account's webhooks are signed with; its owner reads it with `alert secret`.
ALTER TABLE core.accounts ADD COLUMN webhook_secret text NOT NULL
    DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
