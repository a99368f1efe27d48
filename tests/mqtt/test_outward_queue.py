"""What waits to be published: written with the row, in both homes, and nothing at all while nobody asks for it."""

from __future__ import annotations

from tests.storage.rows import NOON, SECOND, batch, known, position, query, store_of
from tracker_server.config import Settings, Storage
from tracker_server.storage.database import Database, Role
from tracker_server.storage.mqtt_outward import done, read_queue, read_visible, set_publishing

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
