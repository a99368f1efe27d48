"""Seeded fleets that drive, report, and check every answer to the byte. See docs/howto/simulate-a-fleet.md."""
