"""The composition root: the only place that builds things, starts them in order and stops them in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from starlette.types import ASGIApp

from tracker_server.api.access import Access
from tracker_server.api.app import make_app
from tracker_server.api.call import Services
from tracker_server.api.computed import Computed
from tracker_server.api.live_reader import LiveReader
from tracker_server.api.monthly_mail import monthly_channels
from tracker_server.api.openid_provider import provider_of
from tracker_server.api.places import places_of
from tracker_server.api.readiness import Readiness
from tracker_server.api.report_mail import report_channels
from tracker_server.api.server import ApiServer, make_server, open_sockets
from tracker_server.aside import aside
from tracker_server.config import Settings
from tracker_server.listeners.outward import Outward
from tracker_server.listeners.server import ListenError
from tracker_server.live.hub import Hub
from tracker_server.metrics import Metrics
from tracker_server.mqtt_station import MqttStation
from tracker_server.notify.channels import channels_of
from tracker_server.payments.gateways import gateways_of
from tracker_server.pipeline.dispatcher import Dispatcher
from tracker_server.pipeline.trackers import Trackers
from tracker_server.station import Station, calm_collector
from tracker_server.storage.addresses import Addresses
from tracker_server.storage.alert_commands import CommandChannel
from tracker_server.storage.alert_sms import SmsDesk
from tracker_server.storage.alert_ways import AlertWays
from tracker_server.storage.backup_keeper import BackupKeeper
from tracker_server.storage.backup_quarantine import check_in_service
from tracker_server.storage.billing_blocks import set_gate
from tracker_server.storage.billing_clock import BillingClock
from tracker_server.storage.billing_store import BillingStore, seller_of, settings_of
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.embedded import Embedded
from tracker_server.storage.invoices import set_seller
from tracker_server.storage.maintenance import set_compression
from tracker_server.storage.migrate import Migration, bootstrap, migrate
from tracker_server.storage.mqtt_outward import set_publishing
from tracker_server.storage.notice_clock import NoticeClock
from tracker_server.storage.outbox import Outbox
from tracker_server.storage.payouts import PayoutClock
from tracker_server.storage.pools import Pools
from tracker_server.storage.proximity_queue import ProximityQueue
from tracker_server.storage.saved_reports import ReportClock
from tracker_server.storage.sessions import new_setup_token
from tracker_server.storage.track_queue import TrackQueue
from tracker_server.workers import Workers

log = structlog.get_logger(__name__)

STALLED_S = 30.0  # frames that wait this long for a commit mean that nothing is being stored
PING_S_MAX = 2.0


async def prepare(database: Database, settings: Settings) -> list[Migration]:
    """A database of today's shape, with what everything may begin with; answers the migrations that it took.
    Raises DatabaseError and psycopg errors.
    """
    async with await database.connect(Role.OWNER) as owner:
        done = await migrate(owner, timescaledb=settings.storage.timescaledb == "auto")
        await bootstrap(
            owner,
            currency=settings.billing.currency,
            zone=settings.billing.zone,
            account=settings.devices.unknown_account,
        )
        billing = settings.billing
        await set_gate(owner, hide_history=billing.hide_history_while_blocked, reveal=billing.reveal)
        await set_seller(owner, seller_of(settings))
        publish = settings.mqtt.publish
        kinds = publish.kinds if publish.url else ""
        await set_publishing(
            owner, positions="position" in kinds, events="event" in kinds or "state" in kinds
        )
        compression = await set_compression(owner, settings.storage.compress_after_days)
        log.debug("compression", state=compression)
        return done


class Server:
    """Everything that there is one of, a station, and workers beside it."""

    def __init__(self, settings: Settings, embedded: Embedded | None = None) -> None:
        """``embedded``: the database, where it is being started already."""
        self.settings = settings
        self.metrics = Metrics()
        self.database = Database(settings, embedded)
        self.trackers = Trackers()
        self.pools = Pools(self.database)
        self.access = Access(
            self.database,
            self.pools,
            session_days=settings.api.session_days,
            passwords_count=not settings.openid.only,
        )
        self.computed = Computed(self.access, self.pools)
        self.places = places_of(settings.geocoder, Addresses(self.database), self.pools)
        self.hub = Hub(
            self.trackers,
            LiveReader(self.pools, self.computed, self.places),
            self.metrics,
            lambda: datetime.now(UTC),
        )
        self.station = Station(settings, self.database, self.trackers, self.metrics, self.hub)
        self.ingest = self.station.ingest
        self.mqtt = MqttStation(self.station)
        self.workers = Workers(settings, self.ingest, self.metrics, self.mqtt.book, self.mqtt.called_another)
        desk = self.station.command_desk
        desk.ask_others, self.workers.answer = self.workers.ask, desk.heard_of
        publish = settings.mqtt.publish
        self.outward = Outward(publish, self.database, self.metrics) if publish.url else None
        self.track_queue = TrackQueue(self.database, self.station.stage)
        self.proximity_queue = ProximityQueue(self.database, self.station.stage)
        self.billing_clock = BillingClock(
            self.database, BillingStore(settings_of(settings.billing)), self.metrics
        )
        self.backups = BackupKeeper(settings, self.metrics)
        self.notice_clock = NoticeClock(
            self.database, BillingStore(settings_of(settings.billing)), self.metrics
        )
        sms_desk = SmsDesk(
            self.database,
            BillingStore(settings_of(settings.billing)),
            refund_undelivered=settings.sms.refund_undelivered,
        )
        self.dispatcher = Dispatcher(
            Outbox(self.database),
            {
                **channels_of(settings, sms_desk, Addresses(self.database), AlertWays(self.database)),
                CommandChannel.name: CommandChannel(self.database),
                **report_channels(settings.smtp, self.database, self.access),
                **monthly_channels(settings.smtp, self.database),
            },
            self.metrics,
            age_max=timedelta(hours=settings.notices.give_up_h),
        )
        self.gateways = gateways_of(settings.payments)
        self.payout_clock = PayoutClock(
            self.database, BillingStore(settings_of(settings.billing)), self.metrics, self.gateways
        )
        self.report_clock = ReportClock(self.database, lambda: datetime.now(UTC))
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin to drain."""
        self._stop.set()

    async def run(self, say: Callable[[str], None]) -> None:
        """From the first migration to the last answer. ``say`` is told each address, then ``ready``."""
        check_in_service(self.settings.data_dir)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await self.database.open()
        try:
            await prepare(self.database, self.settings)
            await self.pools.open()
            await self._serve(say)
        finally:
            self.access.close()
            if self.places is not None:
                await self.places.close()
            await self.pools.close()
            await self.station.store.close()
            await self.database.close()

    async def _serve(self, say: Callable[[str], None]) -> None:
        station = self.station
        async with asyncio.TaskGroup() as tasks:
            for keeper in (self.backups, self.access, self.hub, self.computed):
                station.beside(tasks, keeper.run())
            for name, clock in (
                ("billing clock", self.billing_clock),
                ("clock of notices", self.notice_clock),
                ("dispatcher", self.dispatcher),
                ("clock of reports", self.report_clock),
            ):
                station.beside(tasks, aside(name, clock.run))
            writing = await station.begin(tasks)
            station.beside(tasks, aside("payouts", self.payout_clock.run))
            station.beside(tasks, aside("track queue", self.track_queue.run))
            station.beside(tasks, aside("pairs of trackers", self.proximity_queue.run))
            await self.mqtt.begin(tasks)
            if self.outward is not None:
                station.beside(tasks, self.outward.run())
            await self.workers.open(tasks)
            api = self._open_api(tasks)
            for address in (*station.listeners.open_addresses, *self.mqtt.endpoint.open_addresses):
                tls = " (TLS)" if address.tls else ""
                say(f"{address.protocol}: {address.transport} {address.host}:{address.port}{tls}")
            if api:
                scheme = "https" if self.settings.api.tls_cert else "http"
                say(f"api: {scheme}://{self.settings.api.host}:{self.settings.api.port}")
                await self._offer_setup(say)
            say("ready")
            calm_collector()
            await self._stop.wait()
            await asyncio.gather(self.workers.close(), station.drain(writing, self.mqtt.readers))
            if api:
                api.stop()
            await station.end()

    def _open_api(self, tasks: asyncio.TaskGroup) -> ApiServer | None:
        api = self.settings.api
        if not api.port:
            return None
        services = Services(
            settings=self.settings,
            metrics=self.metrics,
            database=self.database,
            pools=self.pools,
            access=self.access,
            computed=self.computed,
            trackers=self.trackers,
            hub=self.hub,
            ingest=self.ingest,
            billing=BillingStore(settings_of(self.settings.billing)),
            gateways=self.gateways,
            openid=provider_of(self.settings),
            places=self.places,
            readiness=self.readiness,
        )
        app: ASGIApp = make_app(services)
        if self.station.traces is not None:
            app = self.station.traces.app(app)
        server = make_server(app, api)
        try:
            sockets = open_sockets(api)
        except OSError as error:
            raise ListenError(
                f"api.port: {api.host}:{api.port} cannot be opened: {error.strerror}; set another, or 0 for off"
            ) from None
        tasks.create_task(server.serve_on(sockets))
        return server

    async def _offer_setup(self, say: Callable[[str], None]) -> None:
        """Where nobody can administer the server yet, say how the first one signs up. The link works once."""
        async with self.pools.core() as connection:
            token = await new_setup_token(connection)
        if token:
            say(f"first start: make the first administrator at {self.settings.api.base}/setup?token={token}")

    async def readiness(self) -> Readiness:
        """Whether the database answers and what comes in is committed."""
        problems: list[str] = []
        if not self.station.batcher.store_answers:
            problems.append("the database is away; reports wait unanswered")
        if self.station.batcher.waiting_s > STALLED_S:
            problems.append(
                f"nothing has been committed for {self.station.batcher.waiting_s:.0f} s though frames came"
            )
        if not problems:
            try:
                async with (
                    asyncio.timeout(PING_S_MAX),
                    await self.database.connect(Role.DISPLAY) as connection,
                ):
                    await connection.execute("SELECT 1")
            except (*AWAY, TimeoutError) as error:
                problems.append(f"the database does not answer: {str(error).strip() or 'time is up'}")
        return Readiness(not problems, tuple(problems))
