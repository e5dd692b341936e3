"""Channels of notifications and what was sent to them, each operation one transaction, and authorized in it.

People see to their own channels; those of groups and of others are an administrator's.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from signoff.authorization import Action, ChannelFacts, authorize, is_allowed
from signoff.errors import NotFound
from signoff.identity import Principal
from signoff.notifications.audience import USER_PREFIX
from signoff.notifications.services import check_url
from signoff.settings import Settings
from signoff.store import notification_channels as store
from signoff.store import notifications as rows
from signoff.store.database import Cursor, Database
from signoff.store.notification_channels import Channel
from signoff.store.notifications import Notification


def add(
    database: Database,
    settings: Settings,
    *,
    subject: str,
    url: str,
    events: Sequence[str] = (),
    include_payload: bool = False,
    by: Principal,
) -> Channel:
    """A new channel for a person or a group; no `events` means all there are. What is shown of its URL has no secret.

    Raises Forbidden, InvalidInput with the path of each bad field, Conflict when there are too many.
    """
    authorize(by, Action.MANAGE_NOTIFICATIONS, ChannelFacts(subject=subject))
    hosts = None if is_allowed(by, Action.MANAGE_NOTIFICATIONS) else settings.notify_hosts
    service = check_url(url, services=settings.notify_services, hosts=hosts)
    with database.transaction() as cursor:
        return store.add_channel(
            cursor,
            subject=subject,
            url=url,
            service=service,
            events=events,
            include_payload=include_payload,
            by=by.actor,
        )


def list_all(database: Database, *, by: Principal) -> list[Channel]:
    """All channels, or one's own for who may see no others."""
    own = None if is_allowed(by, Action.MANAGE_NOTIFICATIONS) else f"{USER_PREFIX}{by.name}"
    if own is not None:
        authorize(by, Action.MANAGE_NOTIFICATIONS, ChannelFacts(subject=own))
    with database.transaction() as cursor:
        return store.list_channels(cursor, subject=own)


def remove(database: Database, channel_id: UUID, *, by: Principal) -> None:
    """Remove a channel with what is still to be sent to it. Raises NotFound."""
    with database.transaction() as cursor:
        _known(cursor, channel_id, by)
        store.remove_channel(cursor, channel_id)


def disable(database: Database, channel_id: UUID, *, by: Principal) -> None:
    """Tell a channel nothing more; what was still to be sent to it is dead. Raises NotFound."""
    with database.transaction() as cursor:
        _known(cursor, channel_id, by)
        store.disable_channel(cursor, channel_id, why=f"{by.name} disabled it")


def enable(database: Database, channel_id: UUID, *, by: Principal) -> Channel:
    """Tell a disabled channel again, of events from now on. Raises NotFound."""
    with database.transaction() as cursor:
        _known(cursor, channel_id, by)
        return store.enable_channel(cursor, channel_id)


def test(database: Database, channel_id: UUID, *, by: Principal) -> UUID:
    """Let a worker send something to try a channel; its id. Raises NotFound, Conflict when it is disabled."""
    with database.transaction() as cursor:
        _known(cursor, channel_id, by)
        return store.add_test(cursor, channel_id)


def sent(
    database: Database, channel_id: UUID | None, *, state: str | None = None, limit: int = 50, by: Principal
) -> list[Notification]:
    """The newest notifications of a channel, or of all for an administrator. Raises NotFound, Forbidden."""
    with database.transaction() as cursor:
        if channel_id is None:
            authorize(by, Action.MANAGE_NOTIFICATIONS)
        else:
            _known(cursor, channel_id, by)
        return rows.list_notifications(cursor, channel_id, state=state, limit=limit)


def redeliver(database: Database, notification_id: UUID, *, by: Principal) -> Notification:
    """Send a notification once more. Raises NotFound, and Conflict while it is waiting to be sent anyway."""
    with database.transaction() as cursor:
        channel_id = rows.find_channel_id(cursor, notification_id)
        if channel_id is None:
            raise NotFound("there is no such notification")
        _known(cursor, channel_id, by)
        return rows.redeliver(cursor, notification_id)


def _known(cursor: Cursor, channel_id: UUID, by: Principal) -> Channel:
    channel = store.get_channel(cursor, channel_id)
    if not is_allowed(by, Action.MANAGE_NOTIFICATIONS, ChannelFacts(subject=channel.subject)):
        raise NotFound("there is no such channel, or none that is yours")
    return channel
