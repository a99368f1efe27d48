"""Geofences: shapes in metres on the ellipsoid, an index asked in batches, and the formats they travel in."""
