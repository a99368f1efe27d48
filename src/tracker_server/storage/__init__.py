"""All SQL, and nothing but SQL's business: migrations, the embedded database, reading and writing rows."""
