"""``/api/socket``: what changes, as it changes, in the shapes of the field's reference."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog
from starlette.websockets import WebSocketDisconnect, WebSocketState

from tracker_server.api.authorise import Routes
from tracker_server.api.call import SocketCall
from tracker_server.api.position_shape import positions_json
from tracker_server.model.people import Concerned, Principal, Right
from tracker_server.model.reading import UnreadableError, read_json
from tracker_server.storage.database import AWAY
from tracker_server.storage.positions_api import latest_positions

log = structlog.get_logger(__name__)

routes = Routes("Socket")

KEEP_ALIVE_S: Final = 55.0
SEND_S_MAX: Final = 30.0  # a client that takes nothing for so long is gone, and its buffers with it
AGAIN_S: Final = 0.1  # changes to people come in flocks; they are looked at together
FOR_GOOD_S: Final = 86_400.0
RETRY_S: Final = 0.5
TRY_AGAIN, POLICY = 1013, 1008  # RFC 6455 §7.4.1 and its registry


class Wish(msgspec.Struct):
    """What a client may say: ``{"logs": true}``."""

    logs: bool = False


@routes.socket("/socket", needs=Right.READ)
async def live_socket(call: SocketCall) -> None:
    """All latest positions, then every change: devices, positions, events; logs for an administrator who asks."""
    await call.socket.accept()
    await LiveSocket(call).run()


class LiveSocket:
    """One open socket. Four tasks, of which the first to end ends the others."""

    def __init__(self, call: SocketCall) -> None:
        self._socket = call.socket
        self._services = call.services
        self._principal = call.principal
        self._changed = asyncio.Event()
        self._subscriber = call.services.hub.subscribe(
            self._principal.scope, manages=_manages(self._principal)
        )

    async def run(self) -> None:
        """Until either side ends it."""
        unwatch = self._services.access.watch(self._heard)
        tasks = [asyncio.create_task(work) for work in (self._write(), self._listen(), self._keep_allowed())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unwatch()
            self._services.hub.unsubscribe(self._subscriber)
            for task in tasks:
                task.cancel()
            for failed in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(failed, Exception) and not isinstance(failed, GONE):
                    log.error("a defect of ours ended a socket", exc_info=failed)
            await self._close()

    def _heard(self, whom: Concerned) -> None:
        """Somebody's rights changed; those of others are no reason to ask."""
        if whom.holds(self._principal):
            self._changed.set()

    async def _close(self) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            ended = self._subscriber.ended
            try:
                async with asyncio.timeout(SEND_S_MAX):
                    await self._socket.close(POLICY if ended else TRY_AGAIN, ended)
            except GONE:
                log.debug("a socket was gone before it was closed")

    async def _write(self) -> None:
        """The latest of all first; then what changes, as quickly as this client reads."""
        subscriber = self._subscriber
        await self._send(await self._latest())
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await subscriber.next()
            except TimeoutError:
                text: str | None = "{}"
            else:
                if subscriber.ended is not None:
                    return
                text = subscriber.take()
            if text is not None:
                await self._send(text)

    async def _send(self, text: str) -> None:
        async with asyncio.timeout(SEND_S_MAX):
            await self._socket.send_text(text)

    async def _latest(self) -> str:
        async with self._services.pools.display() as connection:
            fixes, marks = await latest_positions(connection, self._principal.scope)
        now = datetime.now(UTC)
        shown = [at for at, device_id in enumerate(fixes.device_ids) if not self._hidden(device_id, now)]
        fixes, marks = fixes.taken(shown), marks.taken(shown)
        rows = positions_json(fixes, marks, self._services.computed, await self._services.addresses(fixes))
        return f'{{"positions":[{rows.decode()}]}}'

    def _hidden(self, device_id: int, now: datetime) -> bool:
        tracker = self._services.trackers.by_id(device_id)
        return tracker is not None and tracker.hidden(now)

    async def _listen(self) -> None:
        """What the client says; anything but a wish that we know is ignored."""
        while True:
            text = await self._socket.receive_text()
            try:
                wish = read_json(text, Wish)
            except UnreadableError:
                continue
            self._subscriber.wants_logs = wish.logs and self._principal.may(Right.ADMINISTER)

    async def _keep_allowed(self) -> None:
        """Ask again who this is whenever something that concerns him changed, and when his time is over."""
        while True:
            try:
                async with asyncio.timeout(self._left_s()):
                    await self._changed.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(AGAIN_S)
            self._changed.clear()
            self._services.metrics.live_asked.inc()
            try:
                found = await self._services.access.again(self._principal)
            except AWAY:
                await asyncio.sleep(
                    RETRY_S
                )  # nobody can be asked: what he was allowed he may see until somebody can
                self._changed.set()
                continue
            if found is None or not found.may(Right.READ):
                self._subscriber.end("signed out, or not allowed any more")
                return
            self._principal = found
            self._services.hub.rescope(self._subscriber, found.scope, manages=_manages(found))
            self._subscriber.wants_logs &= found.may(Right.ADMINISTER)

    def _left_s(self) -> float:
        until = self._principal.until
        if until is None:
            return FOR_GOOD_S
        return min(max((until - datetime.now(UTC)) / timedelta(seconds=1), 0.0) + 0.001, FOR_GOOD_S)


GONE: Final = (WebSocketDisconnect, RuntimeError, OSError, TimeoutError, *AWAY)
"""How a socket's task ends where its client, or the database, went away."""


def _manages(principal: Principal) -> bool:
    """Whether he is shown that a tracker is blocked: who is a customer or of the operator, but no guest."""
    return principal.may(Right.BOOKS)
