"""Moments in NMEA: a time of day, and the day that it belongs to."""

from __future__ import annotations

from datetime import datetime, timedelta

from tracker_protocols.model import BadFrame, Reason
from tracker_protocols.wire.fields import moment

SAME_CYCLE = timedelta(minutes=1)  # a receiver says its date at least this often, if it says it at all
STORE_AGE_MAX = timedelta(days=366)  # a date further off is not a store's but a receiver's lost week count
NEARLY_A_DAY = timedelta(hours=23)
DAY = timedelta(days=1)


def moment_of(date: str, time: str) -> datetime:
    """``ddmmyy`` and ``hhmmss[.f…]``, in UTC."""
    return moment(int(date[4:6]), int(date[2:4]), int(date[:2]), *_parts(time))


def _parts(time: str) -> tuple[int, int, int, int]:
    fraction = time[7:13]
    return (
        int(time[:2]),
        int(time[2:4]),
        int(time[4:6]),
        int(fraction) * 10 ** (6 - len(fraction)) if fraction else 0,
    )


class Clock:
    """Gives a time of day its date: that of the receiver's last dated sentence (RMC, ZDA) where this one
    belongs to the same cycle, else the day of receipt.
    """

    def __init__(self) -> None:
        self.said: datetime | None = None
        self.heard_at: datetime | None = None

    def at(self, time: str, received_at: datetime) -> datetime:
        """``hhmmss[.f…]`` as a moment. An empty one is the moment of receipt."""
        if not time:
            return received_at
        hour, minute, second, microsecond = _parts(time)
        try:
            wanted = received_at.replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
        except ValueError as error:
            raise BadFrame(Reason.NO_SUCH_MOMENT, f"{time}: {error}") from None
        said, heard_at = self.said, self.heard_at
        if said is not None and heard_at is not None and received_at - heard_at <= SAME_CYCLE:
            off = (wanted - said) % DAY
            off = off - DAY if off > DAY / 2 else off
            if abs(off) <= SAME_CYCLE and abs(received_at - said) <= STORE_AGE_MAX:
                return said + off
        # sent a moment before midnight and received after it, or the other way round
        if wanted - received_at > NEARLY_A_DAY:
            return wanted - DAY
        return wanted + DAY if received_at - wanted > NEARLY_A_DAY else wanted
