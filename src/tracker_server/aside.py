"""A coroutine on a thread of its own, with a loop of its own, owned by a task of ours.

For work that computes for longer than a device should wait (a midnight's fees): the interpreter shares itself
out between threads every few milliseconds, and the loop that answers devices goes on turning.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any


async def aside(name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``main()`` until it ends or we are cancelled, and then wait until it has ended. Raises what it raises."""
    here = asyncio.get_running_loop()
    ended: asyncio.Future[None] = here.create_future()
    began: asyncio.Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = here.create_future()

    async def inside() -> None:
        task = asyncio.current_task()
        assert task is not None
        here.call_soon_threadsafe(began.set_result, (asyncio.get_running_loop(), task))
        await main()

    def thread() -> None:
        try:
            asyncio.run(inside())
        except asyncio.CancelledError:
            outcome: BaseException | None = None
        except BaseException as error:  # noqa: BLE001  (handed to whoever waits)
            outcome = error
        else:
            outcome = None
        here.call_soon_threadsafe(ended.set_exception, outcome) if outcome else here.call_soon_threadsafe(
            ended.set_result, None
        )

    threading.Thread(target=thread, name=name, daemon=True).start()
    loop, task = await began
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        loop.call_soon_threadsafe(task.cancel)
        await ended
        raise
