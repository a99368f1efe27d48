"""The track engine: fixes become motion, trips, visits and events. Pure: no clock, no I/O, no database."""
