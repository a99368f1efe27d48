"""The channels that the settings name."""

from __future__ import annotations

from tracker_server.config import Settings
from tracker_server.notify.messenger import MessengerChannel
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.pipeline.dispatcher import Channel

SET_UP_BY = {SmtpChannel.name: "smtp.host", MessengerChannel.name: "notices.messenger_url"}


def channels_of(settings: Settings) -> dict[str, Channel]:
    """Every channel that is set up, by its name."""
    found: list[Channel] = []
    if settings.smtp.host:
        found.append(SmtpChannel(settings.smtp))
    if settings.notices.messenger_url:
        found.append(MessengerChannel(settings.notices.messenger_url))
    return {channel.name: channel for channel in found}
