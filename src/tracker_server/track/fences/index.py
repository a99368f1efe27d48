"""All geofences of one account, asked in batches: on which side of which fence does each fix lie?

The index never changes; ``changed`` makes another that shares what stays, to be swapped in between two
batches. Nearness is three steps, each for the whole batch: boxes from an STRtree, then inside or outside
from prepared geometry in degrees, then the distance to the edge for what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from tracker_server.track.fences.prepared import AREA, CIRCLE, CORRIDOR, Prepared
from tracker_server.track.fences.shapes import Circle, Corridor, Fence
from tracker_server.track.geodesy import (
    EQUATOR_RADIUS_M,
    Floats,
    distances_m,
    mercator,
    mercator_factor,
    mercator_inverse,
)

Ints = NDArray[np.int64]

# What a fix is to a fence. A pair that is not named is OUTSIDE: beyond the edge by more than the margin.
OUTSIDE: Final = 0
NEAR_OUTSIDE: Final = 1
NEAR_INSIDE: Final = 2
INSIDE: Final = 3  # inside by more than the margin

SEGMENT_MAX_M: Final = 20_000.0  # between two fixes further apart nobody knows the way: no crossing is judged


class Hits(NamedTuple):
    """Pairs of a fix (its place in the batch) and a fence (its place in ``FenceIndex.fences``).

    ``side`` is NEAR_OUTSIDE, NEAR_INSIDE or INSIDE. ``crossed_*``: the way from the fix before passes through
    the fence; pairs in which this fix itself has a side are not among them.
    """

    fix: Ints
    fence: Ints
    side: NDArray[np.int8]
    crossed_fix: Ints
    crossed_fence: Ints


class FenceIndex:
    """Fences by place: 0 … n−1 in order of their ids. Immutable; safe to ask from several threads."""

    __slots__ = (
        "_edges", "_fence_of", "_geometries", "_half_m", "_kinds", "_latitudes", "_longitudes", "_prepared",
        "_tree", "_turns", "by_id", "fences", "inner_m", "places",
    )  # fmt: skip

    def __init__(self, fences: Iterable[Fence] = (), known: dict[int, Prepared] | None = None) -> None:
        known = known or {}
        prepared: dict[int, Prepared] = {}
        for fence in sorted(fences, key=lambda fence: fence.id):
            assert fence.id not in prepared, f"two fences with the id {fence.id}"
            old = known.get(fence.id)
            same = old is not None and old.fence is fence
            prepared[fence.id] = old if same and old is not None else Prepared(fence)
        self._prepared = prepared
        made = list(prepared.values())
        self.fences: tuple[Fence, ...] = tuple(one.fence for one in made)
        self.by_id: dict[int, Fence] = {fence.id: fence for fence in self.fences}
        self.places: dict[int, int] = {fence.id: place for place, fence in enumerate(self.fences)}
        self.inner_m = np.array([one.inner_m for one in made], dtype=np.float64)
        self._kinds = np.array([one.kind for one in made], dtype=np.int8)
        self._geometries = _objects([one.geometry for one in made])
        self._edges = _objects([one.edge for one in made])
        shapes = [fence.shape for fence in self.fences]
        self._latitudes = np.array(
            [s.latitude if isinstance(s, Circle) else 0.0 for s in shapes], dtype=np.float64
        )
        self._longitudes = np.array(
            [s.longitude if isinstance(s, Circle) else 0.0 for s in shapes], dtype=np.float64
        )
        self._half_m = np.array([_half_m(fence) for fence in self.fences], dtype=np.float64)
        boxes = [(box, turn, place) for place, one in enumerate(made) for box, turn in one.boxes]
        corners = np.array([box for box, _, _ in boxes], dtype=np.float64).reshape(-1, 4)
        self._turns = np.array([turn for _, turn, _ in boxes], dtype=np.float64)
        self._fence_of = np.array([place for _, _, place in boxes], dtype=np.int64)
        self._tree = shapely.STRtree(shapely.box(*corners.T)) if boxes else None

    def __len__(self) -> int:
        return len(self.fences)

    def changed(self, put: Iterable[Fence] = (), removed: Iterable[int] = ()) -> FenceIndex:
        """Another index with these fences added or replaced (by id), and these ids gone."""
        fences = dict(self.by_id)
        for fence_id in removed:
            fences.pop(fence_id, None)
        fences.update((fence.id, fence) for fence in put)
        return FenceIndex(fences.values(), self._prepared)

    def judge(
        self,
        latitude: Floats,
        longitude: Floats,
        margin_m: Floats,
        before: tuple[Floats, Floats] | None = None,
    ) -> Hits:
        """The sides of fixes with margins of 0 to ``MARGIN_MAX_M`` metres. ``before``: latitude and longitude of
        the fix before each, for crossings; NaN where there is none or the way between is not known.
        """
        if self._tree is None or not len(latitude):
            return _NOTHING
        if before is None:
            asked = shapely.points(longitude, latitude)
            fix, box = self._tree.query(asked)
            return Hits(*self._sides(latitude, longitude, margin_m, fix, box), _NO_PAIRS, _NO_PAIRS)
        before_latitude, before_longitude = before
        short = np.abs(longitude - before_longitude) <= 180.0  # false for NaN too
        begin_x = np.where(short, before_longitude, longitude)
        begin_y = np.where(short, before_latitude, latitude)
        ends = np.stack([begin_x, begin_y, longitude, latitude], axis=1).reshape(-1, 2, 2)
        fix, box = self._tree.query(shapely.linestrings(ends))
        hit_fix, hit_fence, side = self._sides(latitude, longitude, margin_m, fix, box)
        candidates = self._unhit(fix, self._fence_of[box], hit_fix, hit_fence)
        crossed = self._crossed(ends, fix[candidates], box[candidates])
        over = np.flatnonzero(np.abs(longitude - before_longitude) > 180.0)
        if len(over):
            crossed = [
                crossed,
                *(self._over(ends[n], before_longitude[n], before_latitude[n], n) for n in over),
            ]
            pairs = np.unique(np.concatenate(crossed, axis=1), axis=1)
            pairs = pairs[:, self._unhit(pairs[0], pairs[1], hit_fix, hit_fence)]
        else:
            pairs = crossed
        return Hits(hit_fix, hit_fence, side, pairs[0], pairs[1])

    def signed_distance_m(self, place: int, latitude: float, longitude: float) -> float:
        """Metres from a place to the fence's edge, positive inside; for explanations, not for batches."""
        lat, lon = np.array([latitude]), np.array([longitude])
        fence = np.array([place])
        boxes = np.flatnonzero(self._fence_of == place)
        best = -np.inf
        for turn in self._turns[boxes]:
            x = lon + turn
            if self._kinds[place] == CIRCLE:
                metres = self._circle_m(fence, lat, x)
            elif self._kinds[place] == CORRIDOR:
                metres = self._half_m[fence] - self._edge_m(fence, lat, x)
            else:
                inside = shapely.intersects_xy(self._geometries[fence], x, lat)
                metres = np.where(inside, 1.0, -1.0) * self._edge_m(fence, lat, x)
            best = max(best, float(metres[0]))
        return best

    # ------------------------------------------------------------------------------------------------- sides

    def _sides(
        self, latitude: Floats, longitude: Floats, margin_m: Floats, fix: Ints, box: Ints
    ) -> tuple[Ints, Ints, NDArray[np.int8]]:
        """The sides of these pairs of fix and box, OUTSIDE left out."""
        fence = self._fence_of[box]
        lat, lon = latitude[fix], longitude[fix] + self._turns[box]
        margin = margin_m[fix]
        side = np.zeros(len(fix), dtype=np.int8)
        kinds = self._kinds[fence]
        for kind, judged in (
            (CIRCLE, self._circle_sides),
            (AREA, self._area_sides),
            (CORRIDOR, self._corridor_sides),
        ):
            chosen = np.flatnonzero(kinds == kind)
            if len(chosen):
                side[chosen] = judged(fence[chosen], lat[chosen], lon[chosen], margin[chosen])
        hit = np.flatnonzero(side)
        fix, fence, side = fix[hit], fence[hit], side[hit]
        if len(fix) > 1:
            # The same pair may be found through two boxes: the side further in is the true one.
            order = np.lexsort((-side, fence, fix))
            fix, fence, side = fix[order], fence[order], side[order]
            first = np.append(True, (fix[1:] != fix[:-1]) | (fence[1:] != fence[:-1]))
            fix, fence, side = fix[first], fence[first], side[first]
        return fix, fence, side

    def _by_distance(self, fence: Ints, inside_m: Floats, margin: Floats) -> NDArray[np.int8]:
        """Sides by the signed distance to the edge."""
        side = np.where(inside_m >= 0.0, NEAR_INSIDE, NEAR_OUTSIDE).astype(np.int8)
        side[inside_m > np.minimum(margin, self.inner_m[fence])] = INSIDE
        side[-inside_m > margin] = OUTSIDE
        return side

    def _circle_m(self, fence: Ints, lat: Floats, lon: Floats) -> Floats:
        return self._half_m[fence] - distances_m(self._latitudes[fence], self._longitudes[fence], lat, lon)

    def _circle_sides(self, fence: Ints, lat: Floats, lon: Floats, margin: Floats) -> NDArray[np.int8]:
        return self._by_distance(fence, self._circle_m(fence, lat, lon), margin)

    def _area_sides(self, fence: Ints, lat: Floats, lon: Floats, margin: Floats) -> NDArray[np.int8]:
        inside = shapely.intersects_xy(self._geometries[fence], lon, lat)
        limit = np.where(inside, np.minimum(margin, self.inner_m[fence]), margin)
        points = shapely.points(*mercator(lon, lat))
        near = shapely.dwithin(self._edges[fence], points, limit * mercator_factor(lat))
        return np.where(
            inside, np.where(near, NEAR_INSIDE, INSIDE), np.where(near, NEAR_OUTSIDE, OUTSIDE)
        ).astype(np.int8)

    def _corridor_sides(self, fence: Ints, lat: Floats, lon: Floats, margin: Floats) -> NDArray[np.int8]:
        side = np.zeros(len(fence), dtype=np.int8)
        reach = self._half_m[fence] + margin
        # The map's factor changes by this much over the reach; what is beyond even so is outside.
        slack = 1.01 + np.tan(np.radians(np.minimum(np.abs(lat) + 1.0, 89.0))) * reach / EQUATOR_RADIUS_M * 2
        points = shapely.points(*mercator(lon, lat))
        close = np.flatnonzero(
            shapely.dwithin(self._edges[fence], points, reach * mercator_factor(lat) * slack)
        )
        if len(close):
            near = fence[close]
            inside_m = self._half_m[near] - self._edge_m(near, lat[close], lon[close])
            side[close] = self._by_distance(near, inside_m, margin[close])
        return side

    def _edge_m(self, fence: Ints, lat: Floats, lon: Floats) -> Floats:
        """Metres to the nearest place of the edge (of a corridor: of its line)."""
        points = shapely.points(*mercator(lon, lat))
        nearest = shapely.get_coordinates(shapely.shortest_line(self._edges[fence], points))[::2]
        edge_lon, edge_lat = mercator_inverse(nearest[:, 0], nearest[:, 1])
        return distances_m(edge_lat, edge_lon, lat, lon)

    # --------------------------------------------------------------------------------------------- crossings

    def _unhit(self, fix: Ints, fence: Ints, hit_fix: Ints, hit_fence: Ints) -> Ints:
        """Places of the pairs that are not among the hits."""
        key = fix * len(self.fences) + fence
        return np.flatnonzero(~np.isin(key, hit_fix * len(self.fences) + hit_fence))

    def _crossed(self, ends: Floats, fix: Ints, box: Ints) -> NDArray[np.int64]:
        """Of these pairs of a way and a box those in which the way meets the fence; two rows: fix, fence."""
        moved = np.any(ends[fix, 0] != ends[fix, 1], axis=1)
        fix, box = fix[moved], box[moved]
        fence = self._fence_of[box]
        meets = np.zeros(len(fix), dtype=bool)
        ways = ends[fix] + np.stack([self._turns[box], np.zeros(len(box))], axis=1)[:, None, :]
        kinds = self._kinds[fence]
        chosen = np.flatnonzero(kinds == AREA)
        if len(chosen):
            meets[chosen] = shapely.intersects(
                self._geometries[fence[chosen]], shapely.linestrings(ways[chosen])
            )
        chosen = np.flatnonzero(kinds == CORRIDOR)
        if len(chosen):
            way = ways[chosen]
            x, y = mercator(way[:, :, 0], way[:, :, 1])
            lines = shapely.linestrings(np.stack([x, y], axis=2))
            nearest = shapely.get_coordinates(shapely.shortest_line(self._edges[fence[chosen]], lines))
            lon, lat = mercator_inverse(nearest[:, 0], nearest[:, 1])
            apart = distances_m(lat[::2], lon[::2], lat[1::2], lon[1::2])
            meets[chosen] = apart <= self._half_m[fence[chosen]]
        chosen = np.flatnonzero(kinds == CIRCLE)
        if len(chosen):
            meets[chosen] = self._pass_circle(fence[chosen], ways[chosen])
        return np.unique(np.stack([fix[meets], fence[meets]]), axis=1)

    def _pass_circle(self, fence: Ints, ways: Floats) -> NDArray[np.bool_]:
        """Whether ways come within the circles: the place nearest to the centre on the map, then its distance."""
        x, y = mercator(ways[:, :, 0], ways[:, :, 1])
        # Centre and way may be written one turn apart.
        turn = np.round((ways[:, 0, 0] - self._longitudes[fence]) / 360.0) * 360.0
        centre_x, centre_y = mercator(self._longitudes[fence] + turn, self._latitudes[fence])
        dx, dy = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]
        along = ((centre_x - x[:, 0]) * dx + (centre_y - y[:, 0]) * dy) / (dx * dx + dy * dy)
        along = np.clip(along, 0.0, 1.0)
        lon, lat = mercator_inverse(x[:, 0] + along * dx, y[:, 0] + along * dy)
        return self._circle_m(fence, lat, lon) >= 0.0

    def _over(self, ends: Floats, longitude: float, latitude: float, fix: int) -> NDArray[np.int64]:
        """Crossings of one way that leads over the antimeridian: asked from both of its ends' sides."""
        assert self._tree is not None
        step = np.copysign(360.0, ends[1, 0] - longitude)
        found = []
        for shift in (0.0, -step):
            way = np.array([[[longitude + shift + step, latitude], [ends[1, 0] + shift, ends[1, 1]]]])
            box = self._tree.query(shapely.linestrings(way)[0])
            found.append(self._crossed(way, np.zeros(len(box), dtype=np.int64), box))
        pairs = np.concatenate(found, axis=1)
        pairs[0] = fix
        return pairs


def _objects(values: Sequence[object]) -> NDArray[np.object_]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _half_m(fence: Fence) -> float:
    """Radius of a circle, half the width of a corridor."""
    match fence.shape:
        case Circle(radius_m=radius_m):
            return radius_m
        case Corridor(width_m=width_m):
            return width_m / 2
        case _:
            return 0.0


_NO_PAIRS: Ints = np.zeros(0, dtype=np.int64)
_NOTHING = Hits(_NO_PAIRS, _NO_PAIRS, np.zeros(0, dtype=np.int8), _NO_PAIRS, _NO_PAIRS)
EMPTY: Final = FenceIndex()
