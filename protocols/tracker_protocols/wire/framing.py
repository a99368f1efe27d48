"""Where a frame begins and ends in a stream of bytes: frozen values with one pure method.

A framing sees all bytes that wait and nothing of how the network split them, so the split cannot
matter. ``cut`` answers how many bytes are noise and how long the frame after them is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec import Struct


class Cut(NamedTuple):
    """``skip`` bytes of noise, then a frame of ``size`` bytes; size 0: no whole frame there yet."""

    skip: int
    size: int


class Framing(Protocol):
    """``size_max`` bounds what a connection may make us hold. ``resyncs``: a frame is found behind noise."""

    @property
    def size_max(self) -> int: ...
    @property
    def resyncs(self) -> bool: ...
    def cut(self, buffer: bytes, start: int) -> Cut:
        """Look at ``buffer[start:]``, which is not empty."""
        ...


class Delimited(Struct, frozen=True):
    """Frames between a start marker and an end marker, both part of the frame."""

    start: bytes
    end: bytes
    size_max: int
    resyncs: bool = True

    def cut(self, buffer: bytes, start: int) -> Cut:
        found = buffer.find(self.start, start)
        if found < 0:
            return _noise_before_marker(buffer, start, self.start)
        end = buffer.find(self.end, found + len(self.start), found + self.size_max)
        if end >= 0:
            return Cut(found - start, end + len(self.end) - found)
        if len(buffer) - found >= self.size_max:  # never ends: look for the next start behind this one
            return Cut(found - start + len(self.start), 0)
        return Cut(found - start, 0)


class Lines(Struct, frozen=True):
    """Text lines. ``ends`` are the bytes that end one; they and empty lines are not part of a frame."""

    size_max: int
    ends: bytes = b"\r\n"
    resyncs: bool = False

    def cut(self, buffer: bytes, start: int) -> Cut:
        begin = start
        size = len(buffer)
        while True:
            while begin < size and buffer[begin] in self.ends:
                begin += 1
            if begin == size:
                return Cut(size - start, 0)
            found = [at for end in self.ends if (at := buffer.find(end, begin, begin + self.size_max)) >= 0]
            if found:
                return Cut(begin - start, min(found) - begin)
            if size - begin < self.size_max:
                return Cut(begin - start, 0)
            begin += self.size_max  # and no further, whatever came with it: pieces would be cut here, too


class Measured(Struct, frozen=True):
    """Frames that tell their own size. ``size_of(buffer, at)`` answers the size of the frame that begins
    at ``at``, 0 while too little has come to know, -1 where no frame can begin there.
    """

    size_of: Callable[[bytes, int], int]
    size_max: int
    resyncs: bool = True

    def cut(self, buffer: bytes, start: int) -> Cut:
        size_of = self.size_of
        at = start
        end = len(buffer)
        while at < end:
            size = size_of(buffer, at)
            if 0 <= size <= self.size_max:
                if size and at + size <= end:
                    return Cut(at - start, size)
                return Cut(at - start, 0)
            at += 1
        return Cut(end - start, 0)


def _noise_before_marker(buffer: bytes, start: int, marker: bytes) -> Cut:
    """All is noise but a tail that may be the marker's beginning."""
    for keep in range(min(len(marker) - 1, len(buffer) - start), 0, -1):
        if marker.startswith(buffer[len(buffer) - keep :]):
            return Cut(len(buffer) - start - keep, 0)
    return Cut(len(buffer) - start, 0)
