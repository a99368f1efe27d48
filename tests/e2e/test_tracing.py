"""Spans, as a collector takes them over OTLP; without the extra, a sentence that says what is missing."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.talk import conversation, device, fixes, talking
from tests.e2e.test_answers import IMEI, REGISTER
from tests.servers.serve import Servers
from tracker_server.config import ConfigError, load


class Collector:
    """``spans`` as they came: name, attributes, trace, span and the span around it; ``services`` by their names."""

    def __init__(self) -> None:
        collector = self
        self.spans: list[tuple[str, dict[str, Any], bytes, bytes, bytes]] = []
        self.services: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def take(self, request: Any) -> None:
        for of_resource in request.resource_spans:
            told = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            self.services.add(told["service.name"])
            for scope in of_resource.scope_spans:
                for span in scope.spans:
                    attributes = {one.key: one.value for one in span.attributes}
                    self.spans.append(
                        (span.name, attributes, span.trace_id, span.span_id, span.parent_span_id)
                    )

    def named(self, name: str) -> list[tuple[str, dict[str, Any], bytes, bytes, bytes]]:
        return [span for span in self.spans if span[0] == name]


@pytest.fixture
def collector() -> Generator[Collector]:
    one = Collector()
    thread = threading.Thread(target=one.server.serve_forever, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


def test_what_a_report_passes_through(server: Servers, postgres_dsn: str, collector: Collector) -> None:
    running = server(
        {**REGISTER, "tracing.endpoint": collector.url, "tracing.share": 1, "tracing.service": "tracks"},
        dsn=postgres_dsn,
        protocols=["gt06", "teltonika"],
    )
    with talking(running.addresses["gt06"]) as talk:
        for outgoing in conversation("gt06", IMEI, fixes(3)):
            assert talk.ask(outgoing) == outgoing.answer
    packet = device("teltonika", "352093081452251").datagram(fixes(2))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(60)
        udp.connect(running.addresses["teltonika"])
        udp.send(packet.data)
        assert udp.recv(4096) == packet.answer
    with urllib.request.urlopen(f"{running.api}/api/server", timeout=30):
        pass
    running.stop()  # what was not sent yet is sent now
    assert collector.services == {"tracks"}
    decodes = collector.named("decode")
    frames = Counter[str]()
    for _, told, *_ in decodes:
        frames[told["tracker.protocol"].string_value] += told["tracker.frames"].int_value
    assert frames == {"gt06": 5, "teltonika": 1}
    batches = {span[3]: span for span in collector.named("batch")}
    assert sum(span[1]["tracker.rows"].int_value for span in batches.values()) >= 5
    for name in ("commit", "reply"):
        assert {span[4] for span in collector.named(name)} == set(batches), "each in its batch"
    assert sum(span[1]["tracker.answers"].int_value for span in collector.named("reply")) == 4
    (request,) = collector.named("GET /api/server")
    assert request[1]["http.response.status_code"].int_value == 200
    assert IMEI not in repr(collector.spans), "no span holds who it was, nor where"


def test_a_collector_that_is_away_holds_up_nobody(server: Servers, postgres_dsn: str) -> None:
    gone = {"tracing.endpoint": "http://127.0.0.1:9/v1/traces", "tracing.share": 1}
    running = server({**REGISTER, **gone}, dsn=postgres_dsn, protocols=["gt06"])
    with talking(running.addresses["gt06"]) as talk:
        for outgoing in conversation("gt06", IMEI, fixes(3)):
            assert talk.ask(outgoing) == outgoing.answer
    running.stop()


def test_off_imports_nothing_of_it() -> None:
    program = (
        "import sys, tracker_server.app, tracker_server.worker\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_the_extra_it_says_so() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from tracker_server.tracing import Traces\n"
        "from tracker_server.config_tracing import Tracing\n"
        "Traces(Tracing(endpoint='http://127.0.0.1:4318/v1/traces'))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'tracker-server[otel]'" in told.stderr


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("tracing.endpoint", "127.0.0.1:4318", "no address of a collector; for example http://"),
        ("tracing.share", "0", "tracing.share"),
        ("tracing.service", "", "tracing.service"),
    ],
)
def test_wrong_settings_are_named(key: str, value: str, told: str) -> None:
    variable = "TRACKER_" + key.upper().replace(".", "__")
    with pytest.raises(ConfigError, match=told):
        load(environment={variable: value})
