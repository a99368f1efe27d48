"""What a run came to: for people as a table, for scripts as JSON."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import astuple
from rich.table import Table

from tracker_server.simulator.fleet import Fleet
from tracker_server.simulator.habits import Habits
from tracker_server.simulator.histogram import Histogram
from tracker_server.simulator.run import Run
from tracker_server.simulator.timeline import Moment

ERRORS_MAX = 20  # kinds of errors listed; there are few kinds, and each is counted


class Latency(msgspec.Struct, frozen=True):
    """From when a packet was due (open loop) or sent (closed loop) to its answer, in seconds."""

    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float
    answers: int


class Fixes(msgspec.Struct, frozen=True):
    """``planned`` is all; ``missing`` were sent, an answer is owed and did not come; ``unanswerable`` were sent
    in a language that answers nothing; ``unsent`` never went out.
    """

    planned: int
    sent: int
    answered: int
    wrong: int
    missing: int
    unanswerable: int
    unsent: int


class Report(msgspec.Struct, frozen=True):
    """One run. Times in seconds; ``answered_per_s`` counts fixes and, with ``sent_per_s``, runs from the first
    packet sent to the last answer. ``memory_peak_mb`` is the whole process's, in millions of bytes.
    """

    ok: bool
    settings: dict[str, Any]
    seed: int
    fixes: Fixes
    packets_sent: int
    packets_answered: int
    packets_resent: int
    answers_wrong: int
    answers_unasked: int
    answers_late: int
    timeouts: int
    connections: int
    connections_broken: int
    devices_failed: int
    sent_per_s: float
    answered_per_s: float
    latency: Latency
    prepare_s: float
    connect_s: float
    run_s: float
    cpu_s: float
    cpu_us_per_fix: float
    memory_peak_mb: float
    prepared_in_run_s: float
    interrupted: bool
    errors: dict[str, int]
    troubles: dict[str, int]
    samples: list[str]
    timeline: list[Moment]


class ScenarioReport(msgspec.Struct, frozen=True):
    """Several families that reported at the same time: sums, answers' latencies over all, and each by itself. They share one
    process, so what that costs in CPU is told here; of a family it says how much was used meanwhile by all.
    """

    ok: bool
    scenario: str
    seed: int
    fixes: Fixes
    sent_per_s: float
    answered_per_s: float
    latency: Latency
    run_s: float
    cpu_us_per_fix: float
    memory_peak_mb: float
    interrupted: bool
    families: list[Report]


def make_scenario_report(run: Run, scenario: str) -> ScenarioReport:
    """The report of a run that has ended."""
    families = [make_report(fleet) for fleet in run.fleets]
    whole = Histogram()
    for fleet in run.fleets:
        whole.merge(fleet.score.latency)
    begun = min(fleet.score.zero for fleet in run.fleets)
    run_s = max(max(fleet.score.last_at for fleet in run.fleets) - begun, 1e-6)
    fixes = Fixes(*(sum(column) for column in zip(*(astuple(one.fixes) for one in families), strict=True)))
    return ScenarioReport(
        ok=all(one.ok for one in families),
        scenario=scenario,
        seed=families[0].seed,
        fixes=fixes,
        sent_per_s=fixes.sent / run_s,
        answered_per_s=fixes.answered / run_s,
        latency=latency_of(whole),
        run_s=run_s,
        cpu_us_per_fix=max(fleet.cpu_s for fleet in run.fleets) / max(fixes.sent, 1) * 1e6,
        memory_peak_mb=memory_peak_mb(),
        interrupted=any(one.interrupted for one in families),
        families=families,
    )


def latency_of(counted: Histogram) -> Latency:
    """The usual percentiles."""
    return Latency(
        counted.percentile_s(50),
        counted.percentile_s(90),
        counted.percentile_s(99),
        counted.max_s,
        counted.total,
    )


def make_report(fleet: Fleet) -> Report:
    """The report of a run that has ended."""
    plan, score = fleet.plan, fleet.score
    fixes = count_fixes(fleet)
    run_s = max(fleet.run_s, 1e-6)
    failed = sum(one.failed for one in fleet.conversations)
    return Report(
        ok=not (
            fixes.wrong
            or fixes.missing
            or fixes.unsent
            or score.wrong
            or score.unasked
            or failed
            or score.late
        ),
        settings=settings_of(fleet),
        seed=plan.seed,
        fixes=fixes,
        packets_sent=score.packets_sent,
        packets_answered=score.packets_answered,
        packets_resent=score.resent,
        answers_wrong=score.wrong,
        answers_unasked=score.unasked,
        answers_late=score.late,
        timeouts=score.timeouts,
        connections=score.connects,
        connections_broken=score.breaks,
        devices_failed=failed,
        sent_per_s=fixes.sent / run_s,
        answered_per_s=fixes.answered / run_s,
        latency=latency_of(score.latency),
        prepare_s=fleet.prepare_s,
        connect_s=fleet.connect_s,
        run_s=fleet.run_s,
        cpu_s=fleet.cpu_s,
        cpu_us_per_fix=fleet.cpu_s / max(fixes.sent, 1) * 1e6,
        memory_peak_mb=memory_peak_mb(),
        prepared_in_run_s=score.prepared_in_run_s,
        interrupted=score.interrupted,
        errors=dict(score.errors.most_common(ERRORS_MAX)),
        troubles=dict(score.troubles.most_common()),
        samples=score.samples,
        timeline=fleet.timeline.moments,
    )


def memory_peak_mb() -> float:
    """The most that this process ever held. Not getrusage's: that remembers, on Linux, who started us."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
    except (OSError, StopIteration):  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def count_fixes(fleet: Fleet) -> Fixes:
    """Where each fix of the plan stands now."""
    plan, score = fleet.plan, fleet.score
    sent = sum(min(plan.fixes, -(-one.sent_most // plan.repeat) * plan.packet) for one in fleet.conversations)
    unanswerable = score.fixes_unanswerable
    missing = sent - score.fixes_answered - score.fixes_wrong - unanswerable
    planned = plan.fixes_in_all
    return Fixes(
        planned, sent, score.fixes_answered, score.fixes_wrong, missing, unanswerable, planned - sent
    )


def settings_of(fleet: Fleet) -> dict[str, Any]:
    """The plan by its flags' names."""
    plan = fleet.plan
    return {
        "protocol": plan.protocol.name,
        "target": f"[{plan.host}]:{plan.port}" if ":" in plan.host else f"{plan.host}:{plan.port}",
        "transport": plan.transport.value,
        "devices": plan.devices,
        "fixes": plan.fixes,
        "packet": plan.packet,
        "window": plan.window,
        "repeat": plan.repeat,
        "rate": plan.rate,
        "seed": plan.seed,
        "prefix": plan.prefix,
        "start": plan.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "interval_s": plan.interval_s,
        "timeout_s": plan.timeout_s,
        "reconnect": plan.reconnect,
        "give_up_s": plan.give_up_s,
        "hold_s": plan.hold_s,
        "late_s": plan.late_s,
        **habits_of(plan.habits),
    }


def habits_of(habits: Habits) -> dict[str, Any]:
    """Those that differ from a tracker that behaves."""
    usual = msgspec.to_builtins(Habits())
    said = msgspec.structs.asdict(habits)
    said["gpx"] = [str(file) for file in habits.gpx]
    return {key: value for key, value in said.items() if value and value != usual[key]}


def whole_table_of(report: ScenarioReport) -> Table:
    """The sums of a scenario for people."""
    table = Table(title=report.scenario, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    fixes, latency = report.fixes, report.latency
    table.add_row("fixes answered", f"{fixes.answered:,} of {fixes.planned:,}")
    if fixes.unanswerable:
        table.add_row("sent, no answer owed", f"{fixes.unanswerable:,}")
    table.add_row("rate", f"{report.answered_per_s:,.0f} fixes/s in {report.run_s:.2f} s")
    if latency.answers:
        table.add_row("answer p50 / p90 / p99 / max", milliseconds(latency))
    table.add_row("simulator's CPU, memory", effort(report))
    return table


def effort(report: Report | ScenarioReport) -> str:
    """What the simulator's process needed for it."""
    return f"{report.cpu_us_per_fix:.1f} µs a fix, {report.memory_peak_mb:,.0f} MB"


def milliseconds(latency: Latency) -> str:
    """The four figures in a row."""
    values = (latency.p50_s, latency.p90_s, latency.p99_s, latency.max_s)
    return " / ".join(f"{value * 1000:,.1f}" for value in values) + " ms"


def table_of(report: Report, *, alone: bool = True) -> Table:
    """The summary for people. Not ``alone``: of one family of several."""
    table = Table(title=f"{report.settings['protocol']} → {report.settings['target']}", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    fixes, latency = report.fixes, report.latency
    table.add_row("fixes answered", f"{fixes.answered:,} of {fixes.planned:,}")
    if fixes.unanswerable:
        table.add_row("sent, no answer owed", f"{fixes.unanswerable:,}")
    table.add_row(
        "rate", f"{report.answered_per_s or report.sent_per_s:,.0f} fixes/s in {report.run_s:.2f} s"
    )
    if latency.answers:
        table.add_row("answer p50 / p90 / p99 / max", milliseconds(latency))
    table.add_row("connections, broken", f"{report.connections:,}, {report.connections_broken:,}")
    if report.packets_resent:
        table.add_row("packets sent again", f"{report.packets_resent:,}")
    table.add_row("made ready, connected in", f"{report.prepare_s:.2f} s, {report.connect_s:.2f} s")
    if alone:
        table.add_row("simulator's CPU, memory", effort(report))
    bad = [
        ("answers wrong", report.answers_wrong),
        ("answers nobody asked for", report.answers_unasked),
        ("answers too late", report.answers_late),
        ("fixes whose answer is missing", fixes.missing),
        ("fixes never sent", fixes.unsent),
        ("devices given up", report.devices_failed),
    ]
    for name, count in bad:
        if count:
            table.add_row(f"[red]{name}[/]", f"[red]{count:,}[/]")
    for trouble, count in report.troubles.items():
        table.add_row(f"[dim]made: {trouble}[/]", f"{count:,}")
    for error, count in report.errors.items():
        table.add_row(f"[yellow]{error}[/]", f"{count:,}")
    for sample in report.samples:
        table.add_row("[red]for example[/]", sample)
    return table
