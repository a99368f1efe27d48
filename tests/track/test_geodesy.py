"""Distances between fixes: the quick one beside the geodesic."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import floats

from tracker_server.track.geodesy import distance_m, way_m

LATITUDES, LONGITUDES = floats(-90.0, 90.0), floats(-180.0, 180.0)
STEPS = floats(-0.05, 0.05)  # on both sides of where the quick one ends


@given(LATITUDES, LONGITUDES, STEPS, STEPS)
def test_near_it_is_the_geodesic_to_a_fifth_of_a_millimetre(
    latitude: float, longitude: float, north: float, east: float
) -> None:
    there = max(-90.0, min(90.0, latitude + north)), longitude + east
    assert abs(way_m(latitude, longitude, *there) - distance_m(latitude, longitude, *there)) < 0.000_2


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_far_it_is_the_geodesic(
    latitude: float, longitude: float, other_latitude: float, other_longitude: float
) -> None:
    there = other_latitude, other_longitude
    assert abs(way_m(latitude, longitude, *there) - distance_m(latitude, longitude, *there)) < 0.000_2


def test_across_the_antimeridian() -> None:
    assert abs(way_m(10.0, 179.999, 10.0, -179.999) - way_m(10.0, 0.0, 10.0, 0.002)) < 0.000_2
