"""What runs beside ends when it is told to, also where the telling comes together with an error."""

from __future__ import annotations

import asyncio

from tracker_server.aside import aside, let_go

WITHIN_S = 30.0


async def test_a_cancellation_that_meets_an_error_is_said_again() -> None:
    """As when the database dies in the moment in which the server ends."""
    told = asyncio.Event()
    begun = asyncio.Event()
    errors: list[ExceptionGroup[OSError]] = []

    async def dies() -> None:
        begun.set()
        await told.wait()
        raise OSError("the database has gone")

    async def keeper() -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(dies())
            except* OSError as group:
                errors.append(group)
                told.clear()
            await asyncio.sleep(0)

    task = asyncio.create_task(keeper())
    await begun.wait()
    told.set()
    await asyncio.sleep(0)  # the error is on its way
    async with asyncio.timeout(WITHIN_S):
        await let_go([task])
    assert errors
    assert task.cancelled()


async def test_what_runs_on_a_thread_ends_with_it_however_often_it_is_told() -> None:
    ended: list[str] = []
    here, begun = asyncio.get_running_loop(), asyncio.Event()

    async def slowly() -> None:
        here.call_soon_threadsafe(begun.set)
        try:
            await asyncio.sleep(3_600)
        finally:
            await asyncio.sleep(0.2)
            ended.append("ended")

    task = asyncio.create_task(aside("test", slowly))
    await begun.wait()
    await asyncio.sleep(0)  # it waits for the thread now
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(WITHIN_S):
        await asyncio.wait({task})
    assert task.cancelled()
    assert ended == ["ended"]
