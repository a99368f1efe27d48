"""Which boxes of fences does one short way meet? A table of cells answers that for a lone fix in a microsecond, where a tree
of geometries takes twenty: most fixes are near no fence.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import TYPE_CHECKING, Final

from tracker_server.later import shapely

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tracker_server.track.geodesy import Floats

CELL_DEG: Final = 0.01  # about a kilometre: a few boxes of a town's fences in each
CELLS_PER_BOX_MAX: Final = 64
WIDE_MAX: Final = (
    16  # boxes that are larger than that are looked at for each fix; more of them are the tree's work
)
BOXES_MAX: Final = (
    20_000  # a table of more takes longer to make than it saves before the next fence is changed
)
CELLS_ON_A_WAY_MAX: Final = 9
_ROWS: Final = 100_000  # more than there are cells from pole to pole

Owner = tuple[int, float]
"""The fence's place in the index, and the turn to its own frame of longitudes."""
Box = tuple[float, float, float, float, Owner]
"""West, south, east, north, and whose box it is."""


class Cells:
    """Boxes by the cells that they touch. Immutable. ``bounds``: (n, 4) degrees, as ``tree`` has them, which is asked where
    a table does not help: too many boxes, too many large ones, a long way.
    """

    __slots__ = ("_cells", "_owners", "_tree", "_wide")

    def __init__(
        self, tree: shapely.STRtree, bounds: Floats, turns: Floats, fence_of: NDArray[np.int64]
    ) -> None:
        self._tree = tree
        self._owners = list(zip(fence_of.tolist(), turns.tolist(), strict=True))
        self._cells: dict[int, list[Box]] | None = None
        self._wide: list[Box] = []
        if len(bounds) > BOXES_MAX:
            return
        cells: dict[int, list[Box]] = {}
        for (west, south, east, north), owner in zip(bounds.tolist(), self._owners, strict=True):
            box = (west, south, east, north, owner)
            keys = _keys(west, south, east, north, CELLS_PER_BOX_MAX)
            if keys is None:
                self._wide.append(box)
            for key in keys or ():
                cells.setdefault(key, []).append(box)
        if len(self._wide) <= WIDE_MAX:
            self._cells = cells

    def met(self, x: float, y: float, to_x: float, to_y: float) -> Sequence[Owner]:
        """The owner of each box that the rectangle around this way meets; all in degrees."""
        west, east = (x, to_x) if x <= to_x else (to_x, x)
        south, north = (y, to_y) if y <= to_y else (to_y, y)
        cells = self._cells
        if cells is None:
            return self._of_tree(west, south, east, north)
        key = floor(west / CELL_DEG) * _ROWS + floor(south / CELL_DEG)
        near: Sequence[Box]
        if key == floor(east / CELL_DEG) * _ROWS + floor(north / CELL_DEG):
            near = cells.get(key, ())
        else:
            keys = _keys(west, south, east, north, CELLS_ON_A_WAY_MAX)
            if keys is None:
                return self._of_tree(west, south, east, north)
            near = list({box for of in keys for box in cells.get(of, ())})
        if self._wide:
            near = [*near, *self._wide]
        return [
            owner
            for left, low, right, high, owner in near
            if left <= east and west <= right and low <= north and south <= high
        ]

    def _of_tree(self, west: float, south: float, east: float, north: float) -> Sequence[Owner]:
        return [self._owners[n] for n in self._tree.query(shapely.box(west, south, east, north)).tolist()]


def _keys(west: float, south: float, east: float, north: float, most: int) -> list[int] | None:
    """The cells that a box touches; None where there are more than ``most``."""
    columns = range(floor(west / CELL_DEG), floor(east / CELL_DEG) + 1)
    rows = range(floor(south / CELL_DEG), floor(north / CELL_DEG) + 1)
    if len(columns) * len(rows) > most:
        return None
    return [column * _ROWS + row for column in columns for row in rows]
