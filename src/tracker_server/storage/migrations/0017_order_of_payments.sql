-- A refund goes back to the latest payment first, so the order in which payments stand in a state matters. jsonb sorts the
-- keys of an object by their length; json keeps them as they were written.
ALTER TABLE core.billing
    ALTER COLUMN opening TYPE json USING opening::json,
    ALTER COLUMN state TYPE json USING state::json;
