-- Every gateway that a payment's payer was sent to. He may go back and choose another, and pay at the first after all: that money
-- counts, and only at these. `gateway` is the one that was chosen last, and once it is paid the one where.
ALTER TABLE core.payments ADD COLUMN gateways text[] NOT NULL DEFAULT '{}';
UPDATE core.payments SET gateways = ARRAY[gateway] WHERE gateway IS NOT NULL;
