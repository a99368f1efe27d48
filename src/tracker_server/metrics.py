"""What the server counts, with units in the names. Children are made once: labels() on a hot path is slow.

Labels are bounded: protocols, transports and reasons come from our own lists, never from a device.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)

from tracker_server.counting import Durations, Tally

disable_created_metrics()  # a time stamp beside each counter doubles what is scraped and nobody reads it

LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ROWS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


SUMMED_GAUGES = ("tracker_connections", "tracker_queue_rows")  # the others are the first process's to tell

Key = tuple[str, tuple[tuple[str, str], ...]]
Counts = list[tuple[str, dict[str, str], float]]
"""Name, labels and value of samples."""


class Metrics:
    """All metrics of one server, in a registry of their own, and what other processes of it have counted."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._others: dict[int, dict[Key, float]] = {}
        self._gone: dict[Key, float] = {}
        self.connections = Gauge(
            "tracker_connections", "Open device connections", ["protocol"], registry=registry
        )
        self.connections_refused = Counter(
            "tracker_connections_refused", "Connections closed at the door", ["reason"], registry=registry
        )
        self.connections_closed = Counter(
            "tracker_connections_closed", "Device connections ended", ["reason"], registry=registry
        )
        self.mqtt_refused = Counter(
            "tracker_mqtt_refused", "MQTT clients and publishes refused", ["reason"], registry=registry
        )
        self.mqtt_broker_up = Gauge(
            "tracker_mqtt_broker_up",
            "1 while we are subscribed to this broker",
            ["broker"],
            registry=registry,
        )
        self.received_bytes = Tally("tracker_received_bytes", "Bytes read from devices", "protocol", registry)
        self.frames = Tally("tracker_frames", "Frames cut from streams", "protocol", registry)
        self.noise_bytes = Tally(
            "tracker_noise_bytes", "Bytes that belonged to no frame", "protocol", registry
        )
        self.datagrams_dropped = Counter(
            "tracker_datagrams_dropped",
            "Datagrams not read because we were full",
            ["protocol"],
            registry=registry,
        )
        self.fixes = Counter(
            "tracker_fixes_stored", "Fixes committed; a repeat counts again", ["protocol"], registry=registry
        )
        self.repeats = Counter(
            "tracker_reports_repeated", "Reports that were stored already", registry=registry
        )
        self.quarantined = Counter(
            "tracker_quarantined", "Frames put in quarantine", ["reason"], registry=registry
        )
        self.quarantine_refused = Counter(
            "tracker_quarantine_refused", "Frames not kept because the quarantine was full", registry=registry
        )
        self.batch_rows = Histogram(
            "tracker_batch_rows", "Reports in one transaction", buckets=ROWS_BUCKETS, registry=registry
        )
        self.commit_seconds = Histogram(
            "tracker_commit_seconds",
            "From first statement to commit",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.answer_seconds = Durations(
            "tracker_answer_seconds",
            "From a report's last byte to its answer, commit included",
            LATENCY_BUCKETS_S,
            registry,
        )
        self.commits_failed = Counter(
            "tracker_commits_failed", "Transactions that were tried again", ["reason"], registry=registry
        )
        self.queue_rows = Gauge("tracker_queue_rows", "Reports waiting for a commit", registry=registry)
        self.database_up = Gauge("tracker_database_up", "1 while the database answers", registry=registry)
        self.devices = Gauge("tracker_devices", "Trackers known", registry=registry)
        self.devices_hidden = Gauge(
            "tracker_devices_hidden", "Trackers hidden from their customers", ["reason"], registry=registry
        )
        self.faults = Counter(
            "tracker_faults", "Defects of ours that closed a connection", ["protocol"], registry=registry
        )
        self.api_requests = Counter(
            "tracker_api_requests", "Answers to people and programs", ["status"], registry=registry
        )
        self.live_sockets = Gauge("tracker_live_sockets", "Open sockets of people", registry=registry)
        self.live_updates = Counter(
            "tracker_live_updates", "Changes of trackers read for open sockets", registry=registry
        )
        self.live_asked = Counter(
            "tracker_live_asked",
            "Open sockets whose rights were looked at again",
            registry=registry,
        )
        self.live_round_seconds = Histogram(
            "tracker_live_round_seconds",
            "Reading what changed and handing it to all sockets",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.billing_settled = Counter(
            "tracker_billing_settled", "Times that an account was settled by the clock", registry=registry
        )
        self.billing_failures = Counter(
            "tracker_billing_failures", "Accounts that could not be settled", registry=registry
        )
        self.outbox_delivered = Counter(
            "tracker_outbox_delivered",
            "Messages that their channel took over",
            ["channel"],
            registry=registry,
        )
        self.outbox_postponed = Counter(
            "tracker_outbox_postponed", "Attempts to be repeated later", ["channel"], registry=registry
        )
        self.outbox_failed = Counter(
            "tracker_outbox_failed", "Messages given up", ["channel"], registry=registry
        )
        self.outbox_waiting = Gauge(
            "tracker_outbox_waiting", "Messages written and not delivered yet", registry=registry
        )
        self.outbox_oldest_s = Gauge(
            "tracker_outbox_oldest_seconds",
            "How long the oldest waiting message has been due",
            registry=registry,
        )
        self.outbox_given_up = Gauge(
            "tracker_outbox_given_up", "Messages given up that still stand in the outbox", registry=registry
        )
        self.alerts_failed = Counter(
            "tracker_alerts_failed", "Alerts that a defect kept from being written", registry=registry
        )
        self.notices_failed = Counter(
            "tracker_notices_failed", "Accounts whose notices could not be made", registry=registry
        )
        self.backup_verified = Gauge(
            "tracker_backup_verified_timestamp_seconds",
            "Moment of the newest backup whose checksums hold; 0: there is none",
            registry=registry,
        )
        self.of_protocol = cache(self._of_protocol)

    def _of_protocol(self, name: str) -> ProtocolMetrics:
        return ProtocolMetrics(self, name)

    def counts(self) -> Counts:
        """What can be added up over processes."""
        return [
            (sample.name, sample.labels, sample.value)
            for family in self.registry.collect()
            if family.type in {"counter", "histogram"} or family.name in SUMMED_GAUGES
            for sample in family.samples
        ]

    def take(self, number: int, counts: Counts) -> None:
        """What the process of this number has counted by now."""
        self._others[number] = {
            (name, tuple(sorted(labels.items()))): value for name, labels, value in counts
        }

    def gone(self, number: int) -> None:
        """That process has ended: what it counted stays counted, what it held is held no longer."""
        for key, value in self._others.pop(number, {}).items():
            if key[0] not in SUMMED_GAUGES:
                self._gone[key] = self._gone.get(key, 0.0) + value

    def collect(self) -> Iterator[Metric]:
        """Every metric, over all processes."""
        more = dict(self._gone)
        for counts in self._others.values():
            for key, value in counts.items():
                more[key] = more.get(key, 0.0) + value
        of_family: dict[str, dict[Key, float]] = {}
        for key, value in more.items():
            of_family.setdefault(_family_of(key[0]), {})[key] = value
        for family in self.registry.collect():
            added = of_family.get(family.name, {})
            samples = [
                sample._replace(
                    value=sample.value + added.pop((sample.name, tuple(sorted(sample.labels.items()))), 0.0)
                )
                for sample in family.samples
            ]
            family.samples = samples
            for (name, labels), value in added.items():
                family.add_sample(name, dict(labels), value)
            yield family

    def whole(self, name: str, **labels: str) -> int:
        """A metric's value, summed over the labels that are not named."""
        return int(
            sum(
                sample.value
                for family in self.collect()
                for sample in family.samples
                if sample.name == name and labels.items() <= sample.labels.items()
            )
        )

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self)  # pyright: ignore[reportArgumentType]  (asks for nothing but ``collect``)


def _family_of(name: str) -> str:
    for suffix in ("_total", "_bucket", "_count", "_sum"):
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


class ProtocolMetrics:
    """The children of one protocol, made once."""

    def __init__(self, metrics: Metrics, protocol: str) -> None:
        self.connections = metrics.connections.labels(protocol)
        self.received_bytes = metrics.received_bytes.labels(protocol)
        self.frames = metrics.frames.labels(protocol)
        self.noise_bytes = metrics.noise_bytes.labels(protocol)
        self.datagrams_dropped = metrics.datagrams_dropped.labels(protocol)
        self.fixes = metrics.fixes.labels(protocol)
        self.faults = metrics.faults.labels(protocol)
