"""What simulated trackers do beside reporting on time over a good line: when they report, what their receiver,
clock and memory do to a fix, and what happens to their connections. All of it is drawn from the seed.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

METRES_MAX = 1_000_000.0
STORMS_MAX = 1_000
STRAYS_PER_S_MAX = 1_000.0


class Habits(Struct, frozen=True, kw_only=True):
    """The defaults are a tracker that behaves.

    **When it reports.** Every ``interval`` seconds; and besides, where they are above 0, after
    ``distance_m`` metres, after a turn of ``turn_deg`` degrees, and while parked every ``parked_s``
    seconds only. ``gpx`` are files whose tracks are driven instead of drawn roads.

    **What its receiver sees.** ``noise_m``: how far off it wanders; ``drift_m``: how far while parked
    beside. A tunnel about every ``tunnel_km`` of road, in which fixes are told as not valid, at the last
    place. ``cold_start_s`` seconds without a valid fix when it leaves after it was parked.

    **Its memory and clock.** After ``offline_after`` packets it has no network for ``offline_packets``;
    they are sent when it has, oldest first or ``newest_first``. Of each ``jump_every`` fixes the last ten
    are told ``jump_s`` seconds away from their time.

    **Its line.** Shares (0 to 1) of packets: ``duplicates`` are sent once more as if their answer had been
    lost, ``cuts`` break off in the middle, ``half_open`` are sent over a new connection while the old one
    is never closed. ``hangs_up``: it calls for what is due, and hangs up when that is answered, as trackers on batteries
    do. ``slow`` is the share of devices whose bytes come in pieces, ``slow_s`` apart, and who
    read late. ``nat_s``: what a carrier's NAT forgets after so much silence. ``storms_s``: seconds after
    the start at which everybody's connection breaks at once. ``strays_per_s``: callers that talk garbage.
    """

    distance_m: float = 0.0
    turn_deg: float = 0.0
    parked_s: int = 0
    gpx: tuple[Path, ...] = ()
    noise_m: float = 5.0
    drift_m: float = 0.0
    tunnel_km: float = 0.0
    cold_start_s: int = 0
    offline_after: int = 0
    offline_packets: int = 0
    newest_first: bool = False
    jump_every: int = 0
    jump_s: int = 0
    duplicates: float = 0.0
    cuts: float = 0.0
    half_open: float = 0.0
    hangs_up: bool = False
    slow: float = 0.0
    slow_s: float = 0.2
    nat_s: float = 0.0
    storms_s: tuple[float, ...] = ()
    strays_per_s: float = 0.0

    @property
    def irregular(self) -> bool:
        """Whether fixes come otherwise than every ``interval`` seconds."""
        return bool(self.distance_m or self.turn_deg or self.parked_s)

    @property
    def troubled(self) -> bool:
        """Whether single packets meet trouble on their way."""
        return bool(
            self.duplicates or self.cuts or self.half_open or self.slow or self.nat_s or self.offline_packets
        )

    @property
    def breaks(self) -> bool:
        """Whether connections end by the scenario's own doing, and are made again."""
        return bool(
            self.cuts
            or self.half_open
            or self.nat_s
            or self.offline_packets
            or self.storms_s
            or self.hangs_up
        )

    def offline(self, packet: int) -> bool:
        """Whether this packet (from 0) is made while there is no network."""
        if not self.offline_packets:
            return False
        return packet % (self.offline_after + self.offline_packets) >= self.offline_after


def habits_error(habits: Habits) -> str:
    """What is wrong with them, naming the key and the cure; empty where nothing is."""
    bounds: tuple[tuple[str, float, float, float], ...] = (
        ("distance_m", habits.distance_m, 0, METRES_MAX),
        ("turn_deg", habits.turn_deg, 0, 180),
        ("parked_s", habits.parked_s, 0, 86_400),
        ("noise_m", habits.noise_m, 0, 10_000),
        ("drift_m", habits.drift_m, 0, 10_000),
        ("tunnel_km", habits.tunnel_km, 0, METRES_MAX),
        ("cold_start_s", habits.cold_start_s, 0, 3_600),
        ("offline_after", habits.offline_after, 0, 1_000_000),
        ("offline_packets", habits.offline_packets, 0, 100_000),
        ("jump_every", habits.jump_every, 0, 1_000_000),
        ("jump_s", habits.jump_s, -10 * 365 * 86_400, 86_400),
        ("duplicates", habits.duplicates, 0, 1),
        ("cuts", habits.cuts, 0, 1),
        ("half_open", habits.half_open, 0, 1),
        ("slow", habits.slow, 0, 1),
        ("slow_s", habits.slow_s, 0.01, 60),
        ("nat_s", habits.nat_s, 0, 86_400),
        ("strays_per_s", habits.strays_per_s, 0, STRAYS_PER_S_MAX),
    )
    for key, value, least, most in bounds:
        if not least <= value <= most:
            return f"{key}: {value:g} is not from {least:g} to {most:g}"
    if len(habits.storms_s) > STORMS_MAX or any(not 0 <= at <= 86_400 for at in habits.storms_s):
        return f"storms_s: at most {STORMS_MAX} moments, each from 0 to 86400 seconds after the start"
    if bool(habits.jump_every) != bool(habits.jump_s) or 0 < habits.jump_every <= JUMP_FIXES:
        return f"jump_every: needs jump_s beside it, and more than {JUMP_FIXES} fixes from jump to jump"
    if habits.offline_after and not habits.offline_packets:
        return "offline_after: needs offline_packets beside it"
    if habits.newest_first and not habits.offline_packets:
        return "newest_first: needs offline_packets beside it"
    return ""


JUMP_FIXES = 10  # how many fixes a clock stays wrong
