"""All geofences of one account, asked in batches: on which side of which fence does each fix lie?

The index never changes; ``changed`` makes another that shares what stays, to be swapped in between two
batches. Nearness is three steps, each for the whole batch: boxes from an STRtree, then inside or outside
from prepared geometry in degrees, then the distance to the edge for what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tracker_server.later import np, shapely
from tracker_server.track.fences.cells import Cells
from tracker_server.track.fences.prepared import AREA, CIRCLE, CORRIDOR, Prepared
from tracker_server.track.fences.shapes import Circle, Fence
from tracker_server.track.fences.single import (
    INSIDE,
    NEAR_INSIDE,
    NEAR_OUTSIDE,
    OUTSIDE,
    PAIRS_MAX,
    is_passed,
    side_of,
)
from tracker_server.track.geodesy import (
    EQUATOR_RADIUS_M,
    Floats,
    distances_m,
    map_to_ground_m,
    mercator,
    mercator_factor,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.int64]"

_geos: Any = shapely  # its annotations do not know that distances may be arrays

SEGMENT_MAX_M: Final = 20_000.0  # between two fixes further apart nobody knows the way: no crossing is judged


class Hits(NamedTuple):
    """Pairs of a fix (its place in the batch) and a fence (its place in ``FenceIndex.fences``).

    ``side`` is NEAR_OUTSIDE, NEAR_INSIDE or INSIDE; a pair that is not named is OUTSIDE. ``crossed_*``: the way from the fix before passes through
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
        "_cells", "_centres", "_edges", "_fence_of", "_geometries", "_half_m", "_kinds", "_latitudes", "_longitudes", "_made", "_prepared",
        "_repeats", "_tree", "_turns", "bounds", "by_id", "fences", "inner_m", "places",
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
        made = self._made = tuple(prepared.values())
        self.fences: tuple[Fence, ...] = tuple(one.fence for one in made)
        self.by_id: dict[int, Fence] = {fence.id: fence for fence in self.fences}
        self.places: dict[int, int] = {fence.id: place for place, fence in enumerate(self.fences)}
        self._tree: shapely.STRtree | None = None
        self._cells: Cells | None = None  # made when first asked
        if made:
            self._measure(made)

    def _measure(self, made: Sequence[Prepared]) -> None:
        """What is asked of arrays; where there is no fence, nothing is."""
        self.inner_m = np.array([one.inner_m for one in made], dtype=np.float64)
        self._kinds = np.array([one.kind for one in made], dtype=np.int8)
        self._geometries = _objects([one.geometry for one in made])
        self._edges = _objects([one.edge for one in made])
        self._centres = np.array([one.centre or (0.0, 0.0) for one in made], dtype=np.float64).reshape(-1, 2)
        shapes = [fence.shape for fence in self.fences]
        self._latitudes = np.array(
            [s.latitude if isinstance(s, Circle) else 0.0 for s in shapes], dtype=np.float64
        )
        self._longitudes = np.array(
            [s.longitude if isinstance(s, Circle) else 0.0 for s in shapes], dtype=np.float64
        )
        self._half_m = np.array([one.half_m for one in made], dtype=np.float64)
        boxes = [(box, turn, place) for place, one in enumerate(made) for box, turn in one.boxes]
        corners = np.array([box for box, _, _ in boxes], dtype=np.float64).reshape(-1, 4)
        self._turns = np.array([turn for _, turn, _ in boxes], dtype=np.float64)
        self._fence_of = np.array([place for _, _, place in boxes], dtype=np.int64)
        self._repeats = len(boxes) > len(made)  # some fence is asked through several boxes
        self.bounds = corners
        self._tree = shapely.STRtree(_geos.box(*corners.T))

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
            return _nothing()
        if before is None:
            fix, box = self._tree.query(shapely.points(longitude, latitude))
            hits = self._found(fix, box, self._sides(latitude, longitude, margin_m, fix, box))
            return Hits(*hits, *_no_crossings())
        before_latitude, before_longitude = before
        turned = np.abs(longitude - before_longitude)
        known = turned <= 180.0  # false for NaN too
        begin_x = np.where(known, before_longitude, longitude)
        begin_y = np.where(known, before_latitude, latitude)
        ends = np.stack([begin_x, begin_y, longitude, latitude], axis=1).reshape(-1, 2, 2)
        fix, box = self._tree.query(shapely.linestrings(ends))
        over = np.flatnonzero(turned > 180.0)
        if not len(fix) and not len(over):
            return _nothing()
        side = self._sides(latitude, longitude, margin_m, fix, box)
        missed = np.flatnonzero(side == OUTSIDE)
        crossed = self._crossed(ends, fix[missed], box[missed])
        hits = self._found(fix, box, side)
        if len(over):
            ways = [self._over(ends[n], before_longitude[n], before_latitude[n], int(n)) for n in over]
            crossed = np.concatenate([crossed, *ways], axis=1)
        if len(over) or self._repeats:
            crossed = np.unique(crossed, axis=1)
            crossed = crossed[:, self._unhit(crossed[0], crossed[1], hits[0], hits[1])]
        return Hits(*hits, crossed[0], crossed[1])

    def judge_one(
        self, latitude: float, longitude: float, margin_m: float, before: tuple[float, float] | None
    ) -> tuple[list[tuple[int, int]], list[int]]:
        """``judge`` for one fix: fences (by place) with its side, and fences crossed."""
        if self._tree is None:
            return [], []
        if before is not None and abs(longitude - before[1]) > 180.0:
            way = np.array([before[0]]), np.array([before[1]])
            hits = self.judge(np.array([latitude]), np.array([longitude]), np.array([margin_m]), way)
            sides = [(int(place), int(side)) for place, side in zip(hits.fence, hits.side, strict=True)]
            return sides, [int(place) for place in hits.crossed_fence]
        from_latitude, from_longitude = before or (latitude, longitude)
        if self._cells is None:
            self._cells = Cells(self._tree, self.bounds, self._turns, self._fence_of)
        boxes = self._cells.met(from_longitude, from_latitude, longitude, latitude)
        if not boxes:
            return [], []
        moved = (from_latitude, from_longitude) != (latitude, longitude)
        found: dict[int, int] = {}
        crossed: set[int] = set()
        for place, turn in boxes:
            fence = self._made[place]
            side = side_of(fence, latitude, longitude + turn, margin_m)
            if side != OUTSIDE:
                found[place] = max(side, found.get(place, OUTSIDE))
            elif moved and is_passed(
                fence, (from_longitude + turn, from_latitude, longitude + turn, latitude)
            ):
                crossed.add(place)
        return sorted(found.items()), sorted(crossed - found.keys())

    def signed_distance_m(self, place: int, latitude: float, longitude: float) -> float:
        """Metres from a place to the fence's edge, positive inside; good to 0.3 % far from it. For explanations."""
        lat, lon = np.array([latitude]), np.array([longitude])
        fence = np.array([place])
        boxes = np.flatnonzero(self._fence_of == place)
        best = -np.inf
        for turn in self._turns[boxes]:
            on = lon + turn
            if self._kinds[place] == CIRCLE:
                best = max(best, float(self._circle_m(fence, lat, on)[0]))
                continue
            x, y = mercator(on, lat)
            edge_m = float(self._edge_m(fence, lat, x, y, shapely.points(x, y))[0])
            if self._kinds[place] == CORRIDOR:
                best = max(best, float(self._half_m[place]) - edge_m)
            else:
                inside = bool(shapely.intersects_xy(self._geometries[fence], on, lat)[0])
                best = max(best, edge_m if inside else -edge_m)
        return best

    # ------------------------------------------------------------------------------------------------- sides

    def _sides(
        self, latitude: Floats, longitude: Floats, margin_m: Floats, fix: Ints, box: Ints
    ) -> NDArray[np.int8]:
        """The sides of these pairs of fix and box."""
        side = np.zeros(len(fix), dtype=np.int8)
        if not len(fix):
            return side
        fence = self._fence_of[box]
        lat, lon = latitude[fix], longitude[fix] + self._turns[box]
        margin = margin_m[fix]
        if len(fix) <= PAIRS_MAX:
            pairs = zip(fence.tolist(), lat.tolist(), lon.tolist(), margin.tolist(), strict=True)
            side[:] = [side_of(self._made[place], y, x, m) for place, y, x, m in pairs]
            return side
        kinds = self._kinds[fence]
        circles = np.flatnonzero(kinds == CIRCLE)
        if len(circles):
            of = fence[circles]
            inside_m = self._circle_m(of, lat[circles], lon[circles])
            side[circles] = self._by_distance(of, inside_m, margin[circles])
        if len(circles) < len(fence):
            mapped = np.flatnonzero(kinds != CIRCLE)
            side[mapped] = self._mapped_sides(fence[mapped], lat[mapped], lon[mapped], margin[mapped])
        return side

    def _found(self, fix: Ints, box: Ints, side: NDArray[np.int8]) -> tuple[Ints, Ints, NDArray[np.int8]]:
        """The pairs that are not OUTSIDE, each once."""
        hit = np.flatnonzero(side)
        fix, fence, side = fix[hit], self._fence_of[box[hit]], side[hit]
        if self._repeats and len(fix) > 1:
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

    def _mapped_sides(self, fence: Ints, lat: Floats, lon: Floats, margin: Floats) -> NDArray[np.int8]:
        """Sides of areas and corridors: inside or not in degrees, near the edge or not on the map."""
        x, y = mercator(lon, lat)
        points = _geos.points(x, y)
        line = self._kinds[fence] == CORRIDOR
        # Lines, which are no rings, are intersected by nothing that matters; their geometry is None.
        inside = shapely.intersects_xy(self._geometries[fence], lon, lat)
        limit = np.where(inside, np.minimum(margin, self.inner_m[fence]), margin)
        reach = self._half_m[fence] + limit
        # The map's factor changes by this much over the reach of a corridor; what is beyond even so is outside.
        slack = np.where(line, 1.01 + 3 * reach / EQUATOR_RADIUS_M * mercator_factor(lat), 1.0)
        near = _geos.dwithin(self._edges[fence], points, reach * mercator_factor(lat) * slack)
        side = np.where(inside, np.where(near, NEAR_INSIDE, INSIDE), np.where(near, NEAR_OUTSIDE, OUTSIDE))
        close = np.flatnonzero(line & near)
        if len(close):
            of = fence[close]
            edge_m = self._edge_m(of, lat[close], x[close], y[close], points[close])
            side[close] = self._by_distance(of, self._half_m[of] - edge_m, margin[close])
        return side.astype(np.int8)

    def _edge_m(self, fence: Ints, lat: Floats, x: Floats, y: Floats, points: Any) -> Floats:
        """Metres to the nearest place of the edge (of a corridor: of its line), both given on the map."""
        ends = shapely.get_coordinates(shapely.shortest_line(self._edges[fence], points))
        edge_x, edge_y = ends[::2, 0], ends[::2, 1]
        return map_to_ground_m(edge_x - x, edge_y - y, lat)

    # --------------------------------------------------------------------------------------------- crossings

    def _unhit(self, fix: Ints, fence: Ints, hit_fix: Ints, hit_fence: Ints) -> Ints:
        """Places of the pairs that are not among the hits."""
        key = fix * len(self.fences) + fence
        return np.flatnonzero(~np.isin(key, hit_fix * len(self.fences) + hit_fence))

    def _crossed(self, ends: Floats, fix: Ints, box: Ints) -> NDArray[np.int64]:
        """Of these pairs of a way and a box those in which the way meets the fence; two rows: fix, fence."""
        if len(fix):
            moved = np.any(ends[fix, 0] != ends[fix, 1], axis=1)
            fix, box = fix[moved], box[moved]
        if not len(fix):
            return _no_crossings()
        fence = self._fence_of[box]
        ways = ends[fix]
        ways[:, :, 0] += self._turns[box][:, None]
        if len(fix) <= PAIRS_MAX:
            pairs = zip(fence.tolist(), ways.reshape(-1, 4).tolist(), strict=True)
            met = np.array([is_passed(self._made[place], way) for place, way in pairs], dtype=bool)
            return np.stack([fix[met], fence[met]])
        meets = np.zeros(len(fix), dtype=bool)
        kinds = self._kinds[fence]
        areas = np.flatnonzero(kinds == AREA)
        if len(areas):
            lines = shapely.linestrings(ways[areas])
            meets[areas] = shapely.intersects(self._geometries[fence[areas]], lines)
        if len(areas) < len(fix):
            rest = np.flatnonzero(kinds != AREA)
            meets[rest] = self._passes(fence[rest], ways[rest])
        return np.stack([fix[meets], fence[meets]])

    def _passes(self, fence: Ints, ways: Floats) -> NDArray[np.bool_]:
        """Whether ways come within the reach of circles' centres and corridors' lines: the nearest places on the
        map, then their distance.
        """
        x, y = mercator(ways[:, :, 0], ways[:, :, 1])
        at, near = np.empty((len(fence), 2)), np.empty((len(fence), 2))
        circle = self._kinds[fence] == CIRCLE
        at[circle] = self._centres[fence[circle]]
        near[circle] = _nearest_on_ways(x[circle], y[circle], at[circle])
        lined = ~circle
        if lined.any():
            lines = shapely.linestrings(np.stack([x[lined], y[lined]], axis=2))
            nearest = shapely.get_coordinates(shapely.shortest_line(self._edges[fence[lined]], lines))
            at[lined], near[lined] = nearest[::2], nearest[1::2]
        step = near - at
        apart = map_to_ground_m(step[:, 0], step[:, 1], ways[:, 1, 1], at[:, 1] - y[:, 1])
        return apart <= self._half_m[fence]

    def _over(self, ends: Floats, longitude: float, latitude: float, fix: int) -> NDArray[np.int64]:
        """Crossings of one way that leads over the antimeridian: asked from both of its ends' sides."""
        assert self._tree is not None
        step = np.copysign(360.0, ends[1, 0] - longitude)
        found = []
        for shift in (0.0, -step):
            way = np.array([[[longitude + shift + step, latitude], [ends[1, 0] + shift, ends[1, 1]]]])
            box = self._tree.query(_geos.linestrings(way)[0])
            found.append(self._crossed(way, np.zeros(len(box), dtype=np.int64), box))
        pairs = np.concatenate(found, axis=1)
        pairs[0] = fix
        return pairs


def _nearest_on_ways(x: Floats, y: Floats, place: Floats) -> Floats:
    """``nearest_on_way`` for many: the ways' ends in the columns of ``x`` and ``y``."""
    along = np.stack([x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]], axis=1)
    begin = np.stack([x[:, 0], y[:, 0]], axis=1)
    squared = np.sum(along * along, axis=1)
    share = np.sum((place - begin) * along, axis=1) / np.where(squared > 0.0, squared, 1.0)
    return begin + np.clip(share, 0.0, 1.0)[:, None] * along


def _objects(values: Sequence[object]) -> NDArray[np.object_]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


@cache
def _no_crossings() -> NDArray[np.int64]:
    return np.zeros((2, 0), dtype=np.int64)


@cache
def _nothing() -> Hits:
    none = np.zeros(0, dtype=np.int64)
    return Hits(none, none, np.zeros(0, dtype=np.int8), none, none)


EMPTY: Final = FenceIndex()
