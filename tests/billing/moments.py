"""Where calendars hurt: the instants that random histories are drawn from."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from hypothesis import Phase
from hypothesis import strategies as st

# Whoever only asks whether a test fails (the mutants) need not wait for the smallest example.
PHASES = (
    (Phase.generate,)
    if os.environ.get("HYPOTHESIS_NO_SHRINK")
    else (Phase.reuse, Phase.generate, Phase.shrink)
)

ZONES = ("Europe/Moscow", "Europe/Tallinn", "America/Santiago", "America/Havana", "Pacific/Apia", "UTC")

AROUND = tuple(
    datetime.fromisoformat(day).replace(tzinfo=UTC)
    for day in (
        "2000-02-28", "2023-12-31", "2024-02-28", "2024-02-29", "2024-03-30", "2025-01-31", "2025-02-27",
        "2025-03-29", "2025-04-05", "2025-09-06", "2025-10-25", "2025-12-31", "2099-12-30", "2100-02-27",
    )
)  # fmt: skip

starts = st.builds(
    lambda anchor, back, minutes: anchor - timedelta(days=back) + timedelta(minutes=minutes),
    st.sampled_from(AROUND),
    st.sampled_from((0, 0, 1, 30, 31, 32, 59)),
    st.integers(-1500, 1500),
)

# From nothing to 40 days, whole hours and whole days more often than not.
steps = st.one_of(
    st.just(timedelta()),
    st.builds(lambda n: timedelta(hours=n), st.integers(1, 50)),
    st.builds(lambda n: timedelta(days=n), st.integers(1, 40)),
    st.builds(lambda n: timedelta(minutes=n), st.integers(1, 3000)),
)
