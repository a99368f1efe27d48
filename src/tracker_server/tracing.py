"""Spans for what a report passes through (decode, batch, commit, reply) and for requests of the API, by OpenTelemetry.

Where tracing is off nothing here is imported or called: the parts are wrapped when they are built, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from tracker_protocols.model import Frame
from tracker_server import __version__
from tracker_server.config_tracing import Tracing, TracingError
from tracker_server.pipeline.batch import Batch, Stored
from tracker_server.pipeline.batcher import Batcher

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

NS = 1_000_000_000
FLUSH_MS_MAX = 5_000
FramesOf = Callable[[bytes, datetime], list[Frame]]


class Traces:
    """One process's tracer. Raises TracingError where the extra is not installed."""

    def __init__(self, settings: Tracing, worker: int = 0) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError:
            raise TracingError(
                "tracing.endpoint is set, and OpenTelemetry is not installed: pip install 'tracker-server[otel]', "
                "or leave it empty"
            ) from None
        resource = Resource.create(
            {"service.name": settings.service, "service.version": __version__, "tracker.worker": worker}
        )
        self._provider: TracerProvider = TracerProvider(
            resource=resource, sampler=ParentBased(TraceIdRatioBased(settings.share))
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.endpoint)))
        self.tracer: Tracer = self._provider.get_tracer("tracker_server", __version__)

    def decoding(self, protocol: str, frames_of: FramesOf) -> FramesOf:
        """The same, with a span around it."""
        tracer = self.tracer

        def traced(data: bytes, received_at: datetime) -> list[Frame]:
            with tracer.start_as_current_span("decode") as span:
                frames = frames_of(data, received_at)
                span.set_attribute("tracker.protocol", protocol)
                span.set_attribute("tracker.bytes", len(data))
                span.set_attribute("tracker.frames", len(frames))
                return frames

        return traced

    def batcher(self, *given: Any, **named: Any) -> TracedBatcher:
        """A writer that is looked on at."""
        made = TracedBatcher(*given, **named)
        made.traces = self
        return made

    def app(self, app: ASGIApp) -> TracedApp:
        """An application that is looked on at."""
        return TracedApp(app, self)

    def close(self) -> None:
        """Send what is left, if anybody takes it."""
        self._provider.force_flush(FLUSH_MS_MAX)
        self._provider.shutdown()


class TracedBatcher(Batcher):
    """A batch is a span from its first report's arrival to its last answer, with the commit and the answers in it."""

    traces: Traces

    async def _commit(self, batch: Batch) -> Stored:
        from opentelemetry.trace import set_span_in_context

        asked_at = batch.tickets[0].asked_at if batch.tickets else time.monotonic()
        waited_ns = round((time.monotonic() - asked_at) * NS)
        span = self.traces.tracer.start_span("batch", start_time=time.time_ns() - waited_ns)
        span.set_attribute("tracker.rows", batch.rows)
        self._span = span
        with self.traces.tracer.start_as_current_span("commit", context=set_span_in_context(span)) as commit:
            stored = await super()._commit(batch)
            commit.set_attribute("tracker.repeated", stored.repeated)
            return stored

    def _settle(self, batch: Batch, stored: Stored) -> None:
        from opentelemetry.trace import set_span_in_context

        with self.traces.tracer.start_as_current_span(
            "reply", context=set_span_in_context(self._span)
        ) as reply:
            super()._settle(batch, stored)
            reply.set_attribute("tracker.answers", sum(1 for ticket in batch.tickets if ticket.reply))
        self._span.end()


class TracedApp:
    """A span for each request of the API; its name is the route, never an address with somebody's number in it."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._tracer = traces.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracer.start_as_current_span("request") as span:

            async def told(message: Any) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, told)
            route = getattr(scope.get("route"), "path", "no route")
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("http.route", route)
            span.update_name(f"{scope['method']} {route}")
