"""A coroutine on a thread of its own, with a loop of its own, owned by a task of ours.

For work that computes for longer than a device should wait (a midnight's fees): the interpreter shares itself
out between threads every few milliseconds, and the loop that answers devices goes on turning.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final

AGAIN_S: Final = 2.0  # until a task that has not ended is cancelled again


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
        while not ended.done():
            with suppress(RuntimeError):  # its loop is closed: it ends
                loop.call_soon_threadsafe(task.cancel)
            until = here.time() + AGAIN_S
            while not ended.done() and (left_s := until - here.time()) > 0:
                with suppress(asyncio.CancelledError):  # we end with it, not before it
                    await asyncio.wait({ended}, timeout=left_s)
        ended.result()
        raise


async def let_go(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them until they have ended. Once is not always enough: Python before 3.13 forgets that a task was cancelled
    when its task group meets an error of its own in the same moment, such as a database that dies with its server.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
