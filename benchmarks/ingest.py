"""Stored and then answered: a real server, a real database, 200 devices that wait for each answer.

Beside it the least that can be done with the same rows (``floor``) and with the same devices (``prototype``). The aims hold
for a machine on which the prototype does 83,000 fixes a second of Teltonika packets and 20,600 of GT06 frames for 0.014 and
0.044 s of CPU a thousand; what is comparable between machines are the ratios.
"""

from __future__ import annotations

import prototype
from floor import Floor, count, measure
from measures import Found, Measure
from msgspec import Struct
from processes import Server, Simulated, Watch, server, simulate
from prototype import Least

DEVICES = 200
REPETITIONS = 3
FIRST_GUESS = 20_000  # fixes, of the run that tells how many fill the time
INTERVAL_S = "1"


class Case(Struct, frozen=True):
    """One way to report; the aims are for fixes a second and CPU seconds for 1,000 fixes, and for the same as a share and
    as a multiple of the prototype's.
    """

    protocol: str
    packet: int
    rate_aim: float | None = None
    cpu_aim: float | None = None
    share_aim: float | None = None
    multiple_aim: float | None = None

    @property
    def name(self) -> str:
        """As it is called in tables."""
        return (
            f"{self.protocol}, packets of {self.packet}"
            if self.packet > 1
            else f"{self.protocol}, single fixes"
        )


class Once(Struct):
    """One repetition."""

    run: Simulated
    cpu_s: float
    floor: Floor
    least: Least | None
    disturbed: float


CASES = {
    "teltonika": Case("teltonika", 10, 60_000, 0.025, 0.72, 1.79),
    "gt06": Case("gt06", 1, 20_000, 0.06, 0.97, 1.36),
    "osmand": Case("osmand", 1),
}


def run(case: Case, seconds: float) -> Found:
    """All repetitions of one case, each with the floor of its own rows right after it."""
    with server() as one:
        guess = simulate(one, case.protocol, *flags(case, FIRST_GUESS // DEVICES, 1_000))
        fixes = int(guess.report["answered_per_s"] * seconds) // DEVICES // case.packet * case.packet
        fixes = max(fixes, case.packet * 5)
        rounds = [repeat(one, case, fixes, number) for number in range(REPETITIONS)]
    return Found(f"ingest {case.protocol}", told(case, rounds), max(once.disturbed for once in rounds))


def flags(case: Case, fixes: int, seed: int) -> list[str]:
    return [
        "--devices", str(DEVICES), "--fixes", str(fixes), "--packet", str(case.packet),
        "--seed", str(seed), "--interval", INTERVAL_S,
    ]  # fmt: skip


def repeat(one: Server, case: Case, fixes: int, seed: int) -> Once:
    """One run, and proof that each answered fix is a row."""
    # devices that the server knows: one fix each, so that registering them is not measured
    simulate(one, case.protocol, *flags(case, 1, seed), "--start", "2024-01-01T00:00:00Z")
    stored, cpu, watch = count(one), one.cpu_s(), Watch()
    run_ = simulate(one, case.protocol, *flags(case, fixes, seed))
    cpu_s = one.cpu_s() - cpu
    disturbed = watch.disturbed(cpu_s + run_.cpu_s)
    rows = count(one) - stored
    if rows != run_.report["fixes"]["answered"] or rows != fixes * DEVICES:
        raise RuntimeError(f"{run_.report['fixes']['answered']} fixes were answered, {rows} rows were stored")
    least = None
    if case.protocol in prototype.READERS:
        least = prototype.measure(one, case.protocol, rows, *flags(case, fixes, seed))
    return Once(run_, cpu_s, measure(one, rows), least, disturbed)


def told(case: Case, rounds: list[Once]) -> list[Measure]:
    """The figures of all repetitions."""
    name = case.name
    rates = [once.run.report["answered_per_s"] for once in rounds]
    cpus = [once.cpu_s / once.floor.rows * 1_000 for once in rounds]
    latencies = [once.run.report["latency"] for once in rounds]
    return [
        Measure(f"{name}: stored, then answered", "fixes/s", rates, "more", case.rate_aim),
        Measure(f"{name}: CPU of server and database", "s/1000 fixes", cpus, "less", case.cpu_aim),
        Measure(f"{name}: answer p50", "ms", [each["p50_s"] * 1e3 for each in latencies]),
        Measure(f"{name}: answer p99", "ms", [each["p99_s"] * 1e3 for each in latencies]),
        Measure(f"{name}: simulator's CPU", "µs/fix", [once.run.report["cpu_us_per_fix"] for once in rounds]),
        Measure(f"{name}: floor", "rows/s", [once.floor.rows_per_s for once in rounds], "more"),
        Measure(f"{name}: floor's CPU", "s/1000 rows", [once.floor.cpu_s_per_1000 for once in rounds]),
        Measure(
            f"{name}: rate as a share of the floor's",
            "ratio",
            [rate / once.floor.rows_per_s for rate, once in zip(rates, rounds, strict=True)],
            "more",
        ),
        Measure(
            f"{name}: CPU as a multiple of the floor's",
            "ratio",
            [cpu / once.floor.cpu_s_per_1000 for cpu, once in zip(cpus, rounds, strict=True)],
        ),
        *beside(case, rounds, rates, cpus),
    ]


def beside(case: Case, rounds: list[Once], rates: list[float], cpus: list[float]) -> list[Measure]:
    """The same as a share and as a multiple of the prototype's."""
    least = [once.least for once in rounds if once.least is not None]
    if not least:
        return []
    name = case.name
    shares = [rate / beside.fixes_per_s for rate, beside in zip(rates, least, strict=True)]
    multiples = [cpu / beside.cpu_s_per_1000 for cpu, beside in zip(cpus, least, strict=True)]
    return [
        Measure(f"{name}: prototype", "fixes/s", [beside.fixes_per_s for beside in least], "more"),
        Measure(f"{name}: prototype's CPU", "s/1000 fixes", [beside.cpu_s_per_1000 for beside in least]),
        Measure(f"{name}: rate as a share of the prototype's", "ratio", shares, "more", case.share_aim),
        Measure(
            f"{name}: CPU as a multiple of the prototype's", "ratio", multiples, "less", case.multiple_aim
        ),
    ]
