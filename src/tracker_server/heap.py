"""What the C library's allocator keeps of the system's memory. Elsewhere than with glibc (musl, macOS) nothing is done."""

from __future__ import annotations

import ctypes
from typing import Any, Final

M_ARENA_MAX: Final = -8  # of mallopt(3)
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
TRIM_BYTES: Final = 4 * 1024 * 1024  # so much may lie free at the heap's end between two times of giving back
LARGE_BYTES: Final = 2 * 1024 * 1024  # what is larger is asked of the system by itself, page by page
GIVE_BACK_EVERY_S: Final = (
    5.0  # it takes some milliseconds, and what an answer frees is asked for anew after it
)


def share_one_heap() -> None:
    """Glibc gives each thread a heap of its own and returns little of it, which costs a process with a few
    threads a quarter of its memory; the interpreter's lock lets only one of them allocate at a time anyway.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


async def give_back(every_s: float = GIVE_BACK_EVERY_S) -> None:
    """Until cancelled: by itself glibc returns only what is free at the heap's end, and after a rush of devices most of what is
    free lies between what is in use.
    """
    import asyncio  # which is not needed yet where the heap is set up

    trim = _of_glibc("malloc_trim")
    while trim is not None:
        await asyncio.sleep(every_s)
        trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
