"""Times and rates that go as fast as a machine runs Python, as they would be on the machine of the aims: scaled by what
the prototype's fix costs here, in the same run, and what it cost there. An estimate, told beside what was measured.
"""

from __future__ import annotations

from typing import Final

from measures import Found, Measure

PROTOTYPE_S: Final = 0.014  # of CPU for 1,000 fixes in Teltonika packets of ten, where the aims were set
YARDSTICK: Final = "teltonika, packets of 10: prototype's CPU"
PYTHONS: Final = ("engine", "fences", "a day of", "latest of", "start until ready")


def scaled(found: list[Found]) -> list[Found]:
    """Such figures among these that have an aim; none where the run has no prototype beside it."""
    measures = [one for each in found for one in each.measures]
    costs = next((one.values for one in measures if one.name == YARDSTICK), None)
    if costs is None:
        return []
    slower = min(costs) / PROTOTYPE_S  # a neighbour only makes it dearer
    return [
        Found(
            "scaled to the machine of the aims",
            [
                Measure(
                    "this machine's Python: prototype's CPU as a multiple of the aims'", "ratio", [slower]
                ),
                *(_scaled(one, slower) for one in measures if one.aim is not None and _is_pythons(one)),
            ],
        )
    ]


def _is_pythons(one: Measure) -> bool:
    return one.name.startswith(PYTHONS) and one.unit != "ratio"


def _scaled(one: Measure, slower: float) -> Measure:
    factor = 1 / slower if one.better == "less" else slower
    name = f"scaled: {one.name}"
    return Measure(name, one.unit, [value * factor for value in one.values], one.better, one.aim)
