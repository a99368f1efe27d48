"""Real servers for the tests: PostgreSQL, TimescaleDB, and our own. Fixtures over them: ``tests/conftest.py``."""
