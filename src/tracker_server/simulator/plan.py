"""What a run is to do: one frozen value, checked before anything is opened."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from tracker_protocols.model import Fix
from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.wire.device import Device
from tracker_server.simulator.gpx import GpxError, read_tracks
from tracker_server.simulator.habits import Habits, habits_error

DEVICES_MAX = 1_000_000  # six digits of an identifier count them
WINDOW_MAX = 10_000  # packets in flight of one device; a sliding window beyond that hides every delay
REPEAT_MAX = 1_000
FIXES_MAX = 100_000_000
RATE_MAX = 10_000_000.0
PREFIX = re.compile(r"[1-9][0-9]{0,7}")
EARLIEST = datetime(
    2001, 1, 1, tzinfo=UTC
)  # servers doubt clocks that stand at the beginning of their epochs
DAYS_MAX = 9_000  # a history longer than GPS receivers have had clocks that can be trusted


class PlanError(Exception):
    """A plan that cannot be carried out. The message names the flag and the cure."""


class Plan(Struct, frozen=True, kw_only=True):
    """A fleet and how it reports.

    ``rate`` is fixes a second of all devices together (None: closed loop, each device sends as soon as it
    is answered). ``start`` is the time of each device's first fix, the others follow every ``interval_s``.
    ``timeout_s`` bounds the wait for an answer, ``give_up_s`` the wait for any progress while
    reconnecting, ``hold_s`` is how long connections stay open after the last answer. ``late_s``: an
    answer that takes longer fails the run. ``first`` is the number of the first device: several plans
    of one scenario share a seed and not a device.
    """

    protocol: Protocol
    host: str
    port: int
    transport: Transport
    devices: int
    fixes: int
    packet: int = 1
    window: int = 1
    repeat: int = 1
    rate: float | None = None
    seed: int = 1
    prefix: str = "35"
    start: datetime
    interval_s: int = 10
    timeout_s: float = 30.0
    reconnect: bool = False
    give_up_s: float = 60.0
    hold_s: float = 0.0
    late_s: float | None = None
    first: int = 0
    habits: Habits = Habits()

    @property
    def packets(self) -> int:
        """Different packets of one device."""
        return -(-self.fixes // self.packet)

    @property
    def fixes_in_all(self) -> int:
        """Different fixes of the whole fleet."""
        return self.devices * self.fixes

    @property
    def ends_after_s(self) -> int:
        """How long after ``start`` the last fix is told at the latest."""
        habits = self.habits
        longest_s = max(self.interval_s, habits.parked_s)
        return longest_s * max(0, self.fixes - 1) + max(0, habits.jump_s)


def default_start(fixes: int, interval_s: int, now: datetime) -> datetime:
    """The last midnight in UTC from which all fixes lie before today: the same bytes all day, none in the future."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = -(-fixes * interval_s // 86_400)
    return midnight - timedelta(days=min(max(1, days), DAYS_MAX))


def check(plan: Plan, now: datetime) -> Plan:
    """The plan itself, or PlanError."""
    _check_numbers(plan)
    if not PREFIX.fullmatch(plan.prefix):
        raise PlanError(f"--prefix: {plan.prefix!r} is not 1 to 8 digits of which the first is not 0")
    if plan.transport not in plan.protocol.transports:
        spoken = ", ".join(plan.protocol.transports)
        raise PlanError(
            f"--transport: {plan.protocol.name} is not spoken over {plan.transport}; it is over {spoken}"
        )
    if plan.transport is Transport.UDP:
        _check_udp(plan)
    if wrong := habits_error(plan.habits):
        raise PlanError(wrong)
    _check_habits(plan)
    ahead_s = plan.ends_after_s - (now - plan.start).total_seconds()
    if ahead_s > 0:
        raise PlanError(
            f"--start: the last fix would lie {ahead_s:.0f} s in the future; "
            "start earlier, or lessen --interval or --fixes"
        )
    if plan.start < EARLIEST:
        raise PlanError(f"--start: {plan.start:%Y-%m-%dT%H:%M:%SZ} is before 2001; start later")
    return plan


def _check_numbers(plan: Plan) -> None:
    packet_max = plan.protocol.device.fixes_in_packet_max
    bounds: tuple[tuple[str, float, float, float, str], ...] = (
        ("--devices", plan.devices, 1, DEVICES_MAX, ""),
        ("--fixes", plan.fixes, 0, FIXES_MAX, " (0: connect only)"),
        ("--packet", plan.packet, 1, packet_max, f", the most that a packet of {plan.protocol.name} takes"),
        ("--window", plan.window, 1, WINDOW_MAX, ""),
        ("--repeat", plan.repeat, 1, REPEAT_MAX, ""),
        ("--interval", plan.interval_s, 1, 86_400, " seconds; some languages tell no fraction of a second"),
        ("--timeout", plan.timeout_s, 0.05, 3_600, " seconds"),
        ("--give-up", plan.give_up_s, 0.1, 86_400, " seconds"),
        ("--hold", plan.hold_s, 0, 86_400, " seconds"),
        ("--late", 1.0 if plan.late_s is None else plan.late_s, 0.001, 3_600, " seconds"),
        ("--seed", plan.seed, 0, 2**63 - 1, ""),
    )
    for flag, value, least, most, note in bounds:
        if not least <= value <= most:
            raise PlanError(f"{flag}: {value:g} is not from {least:g} to {most:g}{note}")
    if plan.rate is not None and not 0 < plan.rate <= RATE_MAX:
        raise PlanError(
            f"--rate: {plan.rate:g} is not above 0 and at most {RATE_MAX:g}; "
            "leave it out to send as fast as answers come"
        )


def _check_udp(plan: Plan) -> None:
    """Datagrams have no back-pressure and may overtake each other."""
    if plan.window > 1:
        raise PlanError(
            "--window: over UDP a device has one packet in flight; leave it out, or use more devices"
        )
    device = plan.protocol.device("1" * 15)
    assert isinstance(device, Device)
    if plan.rate is None and not device.datagram([Fix(plan.start, 0.0, 0.0)]).answer:
        raise PlanError(
            f"--rate: {plan.protocol.name} answers nothing over UDP; say how many fixes a second to send"
        )


def _check_habits(plan: Plan) -> None:
    habits = plan.habits
    try:
        for file in habits.gpx:
            read_tracks(file)
    except GpxError as error:
        raise PlanError(str(error)) from None
    if habits.troubled and (plan.window > 1 or plan.repeat > 1):
        raise PlanError(
            "--window and --repeat: leave them out where packets meet trouble "
            "(duplicates, cuts, half_open, slow, nat_s, offline_packets): such a device has one in flight"
        )
    if habits.breaks and not plan.reconnect:
        raise PlanError("--reconnect: cuts, half_open, nat_s, offline_packets, storms_s and hangs_up need it")
    if habits.hangs_up and plan.rate is None:
        raise PlanError("--rate: hangs_up needs it; without one there is always something to say")
    if plan.transport is Transport.UDP and (habits.cuts or habits.half_open or habits.nat_s or habits.slow):
        raise PlanError("--transport: cuts, half_open, nat_s and slow are of connections; UDP has none")
