"""A process that delivers what waits in an outbox, to be killed: ``python -m tests.alerts.deliverer DSN URL_BASE SMTP_PORT``."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import timedelta

import structlog

from tracker_server.config import Settings, Smtp, Storage
from tracker_server.config_alerts import Webhooks
from tracker_server.metrics import Metrics
from tracker_server.notify.channels import channels_of
from tracker_server.pipeline.dispatcher import Dispatcher
from tracker_server.storage.database import Database
from tracker_server.storage.outbox import Outbox


def main(dsn: str, smtp_port: int) -> None:
    settings = Settings(
        storage=Storage(dsn=dsn),
        smtp=Smtp(host="127.0.0.1", port=smtp_port, tls="none", sender="alerts@example.com"),
        webhooks=Webhooks(private_addresses=True),
    )
    dispatcher = Dispatcher(
        Outbox(Database(settings)), channels_of(settings), Metrics(), age_max=timedelta(hours=72)
    )
    # nobody reads what it would log: a pipe that is full would hold it up
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print("begins", flush=True)
    asyncio.run(dispatcher.run())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
