"""Every info query (``iq``) that a logged-in client asks, by namespace."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from gateway_worker.simulator.appstate import AppStateQueries
from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.media import MEDIA_HOST, MediaStore
from gateway_worker.simulator.prekeys import PreKeyQueries
from gateway_worker.simulator.profile import ProfileQueries
from gateway_worker.simulator.query import NOT_FOUND, Handler, QueryError, failure, result
from gateway_worker.simulator.usync import UsyncQueries

if TYPE_CHECKING:
    from gateway_worker.simulator.connection import ClientConnection
    from gateway_worker.simulator.post import PostOffice
    from gateway_worker.simulator.registry import AccountRecord, Device, Registry

_MEDIA_TTL: Final = "3600"  # seconds
_LOGOUT_LINGER: Final = 5.0  # seconds
_logger = logging.getLogger(__name__)


class Devices(Protocol):
    """What queries need of the server."""

    registry: Registry

    async def wake(self, device: Device) -> None:
        """Let a device's stanzas flow."""
        ...

    async def forget(self, record: AccountRecord, device: Device) -> None:
        """Remove a device."""
        ...


class Queries:
    """Answers every query; those that are about nothing here get an empty result.

    Args:
        server: The server.
        post: Hands notifications over.
        media: The media hosts' store.
    """

    def __init__(self, server: Devices, post: PostOffice, media: MediaStore) -> None:
        self._server = server
        self._media = media
        profile = ProfileQueries(server.registry, media)
        self._handlers: dict[str, Handler] = {
            "encrypt": PreKeyQueries(server.registry, post).answer,
            "usync": UsyncQueries(server.registry).answer,
            "w:sync:app:state": AppStateQueries(post).answer,
            "privacy": profile.privacy,
            "blocklist": profile.blocklist,
            "w:profile:picture": profile.picture,
            "status": profile.about,
            "w:m": self._media_connection,
            "w:g2": self._groups,
            "md": self._devices,
        }

    async def answer(self, connection: ClientConnection, device: Device, iq: Node) -> None:
        """Answer a query on the connection that it came by."""
        namespace = iq.attrs.get("xmlns", "")
        handler = self._handlers.get(namespace)
        try:
            content = [] if handler is None else await handler(device, iq)
        except QueryError as error:
            _logger.debug("%r asked %s and got error %d", connection, namespace, error.code)
            connection.send(failure(iq, error.code))
            return
        connection.send(result(iq, content))
        if namespace == "passive" and iq.child("active") is not None:
            await self._server.wake(device)
        elif device.account.devices.get(device.address.device) is not device:
            # It has just removed itself, and is the one to close: a server that were faster would look like a failure.
            connection.end(linger=_LOGOUT_LINGER)

    async def _media_connection(self, _device: Device, iq: Node) -> list[Node]:
        if iq.child("media_conn") is None:
            return []
        attrs = {"auth": self._media.auth, "ttl": _MEDIA_TTL, "auth_ttl": _MEDIA_TTL, "max_buckets": "12", "id": "1"}
        return [Node("media_conn", attrs, [Node("host", {"hostname": MEDIA_HOST, "type": "primary"})])]

    async def _groups(self, _device: Device, iq: Node) -> list[Node]:
        """Answer that there are no groups."""
        if iq.child("participating") is not None:
            return [Node("groups")]
        raise QueryError(NOT_FOUND)

    async def _devices(self, device: Device, iq: Node) -> list[Node]:
        """Let a client log itself out; it gets the result and closes."""
        removed = iq.child("remove-companion-device")
        if removed is None:
            return []
        if removed.attrs.get("jid") not in (device.address.pn_jid, device.address.lid_jid):
            raise QueryError(NOT_FOUND)
        await self._server.forget(device.account, device)
        return []
