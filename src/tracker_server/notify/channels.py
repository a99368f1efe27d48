"""The channels that the settings name."""

from __future__ import annotations

from msgspec.structs import replace

from tracker_server.config import Settings
from tracker_server.config_alerts import Sms
from tracker_server.notify.geocoder import Geocoder
from tracker_server.notify.messenger import MessengerChannel
from tracker_server.notify.mqtt import MqttChannel
from tracker_server.notify.picture import Pictures
from tracker_server.notify.sms import SmsChannel
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.notify.webhook import WebhookChannel
from tracker_server.pipeline.addresses import AddressCache
from tracker_server.pipeline.dispatcher import Channel
from tracker_server.pipeline.sms import SmsOffice, SmsProvider
from tracker_server.pipeline.ways import Ways

SET_UP_BY = {
    SmtpChannel.name: "smtp.host",
    SmsChannel.name: "sms.provider",
    MessengerChannel.name: "notices.messenger_url",
    WebhookChannel.name: "webhooks.enabled",
    MqttChannel.name: "mqtt.publish.url",
}


def channels_of(
    settings: Settings,
    office: SmsOffice | None = None,
    addresses: AddressCache | None = None,
    ways: Ways | None = None,
) -> dict[str, Channel]:
    """Every channel that is set up, by its name. Without ``office`` SMS are sent and not debited; without ``addresses``
    nobody is asked for one; without ``ways`` no mail has a picture.
    """
    found: list[Channel] = []
    geocoder = None
    if settings.geocoder.url and addresses:
        half = replace(settings.geocoder, per_second=settings.geocoder.per_second / 2)  # the API asks, too
        geocoder = Geocoder(half, addresses)
    if settings.smtp.host:
        pictures = Pictures(ways, settings.alerts.pictures_per_minute_max) if ways else None
        found.append(SmtpChannel(settings.smtp, geocoder, pictures))
    if settings.sms.provider:
        found.append(SmsChannel(settings.sms, provider_of(settings.sms, office), office, geocoder=geocoder))
    if settings.notices.messenger_url or settings.alerts.messenger_schemes:
        found.append(
            MessengerChannel(settings.notices.messenger_url, settings.alerts.messenger_schemes, geocoder)
        )
    if settings.webhooks.enabled:
        found.append(WebhookChannel(settings.webhooks, operators_secret=settings.seller.events_secret))
    if settings.mqtt.publish.url:
        found.append(MqttChannel(settings.mqtt.publish))
    return {channel.name: channel for channel in found}


def provider_of(sms: Sms, office: SmsOffice | None) -> SmsProvider:
    """The one that ``sms.provider`` names."""
    from tracker_server.notify.smpp import SmppProvider
    from tracker_server.notify.sms_apprise import AppriseProvider
    from tracker_server.notify.sms_http import HttpGateway

    match sms.provider:
        case "smpp":
            return SmppProvider(sms.smpp, sms.sender, office.receipt if office else None)
        case "http":
            return HttpGateway(sms.http, sms.sender)
        case _:
            return AppriseProvider(sms.apprise_url)
