"""What waits to be published: written with the row, in both homes, and nothing at all while nobody asks for it."""

from __future__ import annotations

import psycopg

from tests.storage.rows import NOON, SECOND, batch, known, position, query, store_of
from tracker_server.config import Settings, Storage
from tracker_server.storage.database import Database, Role
from tracker_server.storage.mqtt_outward import (
    FRESH,
    POSITIONS,
    done,
    read_queue,
    read_visible,
    set_publishing,
)

TRIGGERS = "SELECT tgname FROM pg_trigger WHERE tgname = 'mqtt'"


async def test_queued_with_the_row(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    database = Database(Settings(storage=Storage(dsn=home_dsn)))
    async with await database.connect(Role.OWNER) as owner, store_of(home_dsn) as store:
        await store.commit(batch(position(tracker, NOON)), "default")
        assert query(home_dsn, TRIGGERS) == [], "nobody asks: not even a trigger"
        await set_publishing(owner, positions=True, events=True)
        await owner.commit()
        late, repeat = position(tracker, NOON - SECOND), position(tracker, NOON)
        await store.commit(batch(position(tracker, NOON + SECOND), late, repeat), "default")
        async with await database.connect(Role.CORE) as core:
            queued = await read_queue(core, 10)
            assert sorted(one.at for one in queued) == [NOON - SECOND, NOON + SECOND], "what is new, once"
            visible = await read_visible(core, queued)
            latest = {row["fixed_at"]: row["latest"] for row in visible.values()}
            assert latest == {NOON - SECOND: False, NOON + SECOND: True}
            await done(core, [one.id for one in queued])
            await core.commit()
            assert await read_queue(core, 10) == []
        await store.commit(batch(position(tracker, NOON + 2 * SECOND)), "default")
        await set_publishing(owner, positions=False, events=False)
        await owner.commit()
        assert query(home_dsn, TRIGGERS) == []
        assert query(home_dsn, "SELECT 1 FROM core.mqtt_queue") == [], "what waited is forgotten"


async def test_reading_costs_what_is_read_and_not_what_is_stored(home_dsn: str) -> None:
    """Devices are so few that PostgreSQL never counted them; it must not read all positions for each of them."""
    trackers = known(home_dsn, *(f"T{number}" for number in range(20)))
    async with store_of(home_dsn) as store:
        for second in range(100):
            rows = [position(tracker, NOON + second * SECOND) for tracker in trackers]
            await store.commit(batch(*rows), "default")
    with psycopg.connect(home_dsn, autocommit=True) as connection:
        connection.execute("ANALYZE core.positions")
    wanted = query(
        home_dsn, "SELECT id, device_id, fixed_at FROM core.positions ORDER BY fixed_at DESC LIMIT 20"
    )
    columns = [[row[name] for row in wanted] for name in ("id", "device_id", "fixed_at", "id")]
    for statement, values in ((FRESH, [100]), (POSITIONS, columns)):
        plan = query(home_dsn, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)
        assert plan[0]["QUERY PLAN"][0]["Plan"]["Shared Hit Blocks"] < 2_000
