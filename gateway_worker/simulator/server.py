"""The server itself: lets clients in, takes their stanzas, and is the exchange of the devices that are played."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gateway_worker.simulator import appstate
from gateway_worker.simulator.appstate import AppStateQueries
from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.connection import ClientConnection
from gateway_worker.simulator.endpoints import PN_SERVER, Account, DeviceAddress, Endpoint, LinkedCallback
from gateway_worker.simulator.errors import BadClientError, InvalidError, NotFoundError, PreconditionError
from gateway_worker.simulator.faults import FaultTable
from gateway_worker.simulator.noise import Established, ServerIdentity
from gateway_worker.simulator.pairing import PairingDesk
from gateway_worker.simulator.post import PostOffice, Stats, now
from gateway_worker.simulator.queries import Queries
from gateway_worker.simulator.registry import AccountRecord, Device, Registry
from gateway_worker.simulator.router import Router

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway_worker.simulator.endpoints import PreKeyBundle, PublishedKeys, StoredMedia
    from gateway_worker.simulator.media import MediaStore
    from gateway_worker.simulator.settings import SimulatorSettings
    from gateway_worker.simulator.web import WebSocket

_LOGGED_OUT: Final = 401
_SWEEP: Final = 5.0  # seconds between two looks for silent connections
_logger = logging.getLogger(__name__)


def stream_replaced() -> Node:
    """Make the stream error of a device that has logged in elsewhere."""
    return Node("stream:error", {}, [Node("conflict", {"type": "replaced"})])


def stream_logged_out() -> Node:
    """Make the stream error of a device that was removed."""
    return Node("stream:error", {"code": str(_LOGGED_OUT)}, [Node("conflict", {"type": "device_removed"})])


def stream_unavailable() -> Node:
    """Make the stream error that asks a client to come back."""
    return Node("stream:error", {"code": "503"})


class Server:
    """A WhatsApp server. Implements :class:`~gateway_worker.simulator.endpoints.Exchange`.

    Args:
        settings: Its settings.
        identity: What it authenticates itself with in the Noise handshake.
        media: The media hosts' store.
    """

    def __init__(self, settings: SimulatorSettings, identity: ServerIdentity, media: MediaStore) -> None:
        self.registry = Registry()
        self.faults = FaultTable()
        self.stats = Stats()
        self.connections: set[ClientConnection] = set()
        self._settings = settings
        self._identity = identity
        self._media = media
        self._post = PostOffice(self.registry, self.stats)
        self._router = Router(self.registry, self._post, self.stats)
        self._app_state = AppStateQueries(self._post)
        self._queries = Queries(self, self._post, media)
        self._desk = PairingDesk(settings.ref_lifetimes, settings.ref_grace)
        self._on_linked: list[LinkedCallback] = []
        self._linking: dict[DeviceAddress, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for silent connections."""
        self.spawn(self._sweep(), "simulator-sweep")

    async def aclose(self) -> None:
        """Stop the server's own tasks; connections end with the proxy that they came through."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run something on a task of the server's own; an exception in it is logged."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("%s failed", task.get_name(), exc_info=error)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_SWEEP, self._settings.idle_timeout))
            limit = loop.time() - self._settings.idle_timeout
            for connection in [connection for connection in self.connections if connection.last_heard < limit]:
                _logger.info("%r was silent for %g s and is closed", connection, self._settings.idle_timeout)
                connection.abort()

    # --- connections --------------------------------------------------------------------------------------------------

    async def chat(self, socket: WebSocket) -> None:
        """Serve one chat connection until its end.

        Raises:
            BadClientError: The client sent what no client sends.
        """
        connection = ClientConnection(socket, self._identity, self)
        self.connections.add(connection)
        await connection.run()

    async def established(self, connection: ClientConnection, client: Established) -> None:
        """Let a client in that has finished its handshake."""
        payload = client.payload
        if payload.HasField("devicePairingData"):
            connection.offer = self._desk.open(
                connection, payload.devicePairingData, client.client_static, self._post.next_id()
            )
            return
        record = self.registry.find(str(payload.username))
        device = None if record is None else record.devices.get(payload.device)
        if device is None or device.noise_static != client.client_static:
            _logger.info("a login as %d:%d was refused: no such device", payload.username, payload.device)
            connection.end(self._login_failure(_LOGGED_OUT))
            return
        if reason := self.faults.of(device.address.number).refuse_logins:
            connection.end(self._login_failure(reason))
            return
        await self._log_in(connection, device, passive=payload.passive)

    @staticmethod
    def _login_failure(reason: int) -> Node:
        return Node("failure", {"reason": str(reason), "location": "sim", "t": now()})

    async def _log_in(self, connection: ClientConnection, device: Device, *, passive: bool) -> None:
        if isinstance(device.endpoint, ClientConnection):
            device.endpoint.end(stream_replaced())
        connection.device = device
        device.endpoint = connection
        device.awake = False
        self.stats.logins += 1
        attrs = {"t": now(), "lid": device.address.lid_jid, "display_name": device.account.push_name}
        connection.send(Node("success", attrs | {"location": "sim"}))
        if not passive:
            await self.wake(device)

    async def wake(self, device: Device) -> None:
        """Let a device's stanzas flow; the first time, it is linked by that."""
        await self._post.wake(device)
        if device.linked:
            return
        device.linked = True
        self._linking.setdefault(device.address, asyncio.Event()).set()
        for callback in self._on_linked:
            self.spawn(self._call(callback, device), f"simulator-linked-{device.address.pn_jid}")
        await self._post.announce_devices(device.account)

    @staticmethod
    async def _call(callback: LinkedCallback, device: Device) -> None:
        await callback(device.account.account, device.address)

    async def closed(self, connection: ClientConnection) -> None:
        """Clean up after a connection."""
        self.connections.discard(connection)
        if connection.offer is not None:
            self._desk.close(connection.offer)
        device = connection.device
        if device is not None and device.endpoint is connection:
            device.endpoint = None
            device.awake = False
            await self._router.set_available(device, available=False)

    # --- stanzas ------------------------------------------------------------------------------------------------------

    async def stanza(self, connection: ClientConnection, node: Node) -> None:
        """Take a stanza from a client.

        Raises:
            InvalidError: It makes no sense.
            BadClientError: It must not come from a client that has not logged in.
        """
        if node.tag == "iq":
            await self._iq(connection, node)
            return
        device = connection.device
        if device is None:
            if node.tag in ("message", "receipt", "presence", "chatstate"):
                raise BadClientError(f"<{node.tag}> before login")
        elif node.tag == "message":
            await self._message(connection, device, node)
        elif node.tag == "receipt":
            await self._receipt(connection, device, node)
        elif node.tag == "ack":
            device.mailbox.settle(node.attrs.get("class", ""), node.attrs.get("id", ""))
        elif node.tag == "presence":
            await self._router.presence(device, node)
        elif node.tag == "chatstate":
            await self._router.chatstate(device, node)
        else:
            _logger.debug("%r sent <%s>, which is not looked at", connection, node.tag)

    async def _iq(self, connection: ClientConnection, node: Node) -> None:
        if not node.attrs.get("id"):
            raise InvalidError("an iq has an id")
        if node.attrs.get("type") in ("result", "error"):
            if connection.offer is not None:
                connection.offer.answer(node)
        elif connection.device is not None:
            await self._queries.answer(connection, connection.device, node)
        elif node.attrs.get("xmlns") == "w:p":
            connection.send(Node("iq", {"from": PN_SERVER, "type": "result", "id": node.attrs["id"]}))
        else:
            _logger.debug("%r asked %r before login", connection, node.attrs.get("xmlns"))

    async def _message(self, connection: ClientConnection, device: Device, node: Node) -> None:
        faults = self.faults.of(device.address.number)
        if faults.swallow_messages:
            return
        code = faults.refuse_messages or self._router.check_message(node)
        if not faults.withhold_acks:
            attrs = {"class": "message", "id": node.attrs.get("id", ""), "from": node.attrs.get("to", ""), "t": now()}
            if code:
                attrs["error"] = str(code)
            ack = Node("ack", attrs)
            if faults.ack_delay:
                asyncio.get_running_loop().call_later(faults.ack_delay, connection.send, ack)
            else:
                connection.send(ack)
        if not code:
            await self._router.message(device, node)

    async def _receipt(self, connection: ClientConnection, device: Device, node: Node) -> None:
        stanza_id = node.attrs.get("id", "")
        device.mailbox.settle("message", stanza_id)
        await self._router.receipt(device, node)
        attrs = {"class": "receipt", "id": stanza_id, "from": node.attrs.get("to", "")}
        if kind := node.attrs.get("type"):
            attrs["type"] = kind
        connection.send(Node("ack", attrs))

    # --- for phones and faults ----------------------------------------------------------------------------------------

    def count_bad_client(self) -> None:
        """Count a connection that ended because its client sent garbage."""
        self.stats.bad_clients += 1

    async def link(self, record: AccountRecord, code: str) -> DeviceAddress:
        """Link the client that shows a code to an account; returns when it has logged in as the new device.

        Raises:
            InvalidError: The text is no code.
            NotFoundError: No client offers the code.
            PreconditionError: The code is no longer valid, or the client does not come back.
        """
        device = await self._desk.scan(record, code, self._post.next_id())
        linked = self._linking.setdefault(device.address, asyncio.Event())
        try:
            await asyncio.wait_for(linked.wait(), self._settings.link_timeout)
        except TimeoutError:
            raise PreconditionError(
                f"{device.address.pn_jid} is linked but did not log in within {self._settings.link_timeout:g} s"
            ) from None
        finally:
            self._linking.pop(device.address, None)
        return device.address

    async def unlink(self, record: AccountRecord, device: Device) -> None:
        """Remove a linked device; its client, if connected, is logged out."""
        self.kick(device, stream_logged_out())
        await self.forget(record, device)

    async def forget(self, record: AccountRecord, device: Device) -> None:
        """Remove a device; logins as it fail from now on."""
        record.devices.pop(device.address.device, None)
        device.endpoint = None
        await self._post.announce_devices(record)

    def kick(self, device: Device, error: Node) -> bool:
        """End a device's connection with a stream error; False when it has none."""
        endpoint = device.endpoint
        if not isinstance(endpoint, ClientConnection):
            return False
        device.endpoint = None
        device.awake = False
        endpoint.end(error)
        return True

    # --- Exchange -----------------------------------------------------------------------------------------------------

    def _record(self, user: str) -> AccountRecord:
        record = self.registry.find(user)
        if record is None:
            raise NotFoundError(f"there is no account {user!r}")
        return record

    def create_account(self, number: str, push_name: str) -> Account:
        """Open an account; see Exchange."""
        return self.registry.create(number, push_name).account

    def account(self, user: str) -> Account | None:
        """Find an account; see Exchange."""
        record = self.registry.find(user)
        return None if record is None else record.account

    def devices(self, number: str) -> list[DeviceAddress]:
        """List the devices that can be sent to; see Exchange."""
        record = self.registry.find(number)
        return [] if record is None else [device.address for device in record.reachable()]

    def attach(self, device: DeviceAddress, endpoint: Endpoint) -> None:
        """Deliver a device's stanzas to an endpoint; see Exchange."""
        target = self._device(device)
        if isinstance(target.endpoint, ClientConnection):
            target.endpoint.end(stream_replaced())
        target.endpoint = endpoint
        target.awake = False
        self.spawn(self._post.wake(target), f"simulator-attach-{device.pn_jid}")

    def detach(self, device: DeviceAddress, endpoint: Endpoint) -> None:
        """Stop delivering to an endpoint; see Exchange."""
        target = self.registry.device(device)
        if target is not None and target.endpoint is endpoint:
            target.endpoint = None

    def _device(self, address: DeviceAddress) -> Device:
        record = self._record(address.number)
        device = record.phone() if address.device == 0 else record.devices.get(address.device)
        if device is None:
            raise NotFoundError(f"there is no device {address.pn_jid}")
        return device

    async def route(self, sender: DeviceAddress, node: Node) -> None:
        """Treat a stanza as if a device had sent it; see Exchange."""
        device = self._device(sender)
        if node.tag == "message":
            if code := self._router.check_message(node):
                raise InvalidError(f"there is no chat {node.attrs.get('to')!r} (error {code})")
            await self._router.message(device, node)
        elif node.tag == "receipt":
            await self._router.receipt(device, node)
        elif node.tag == "chatstate":
            await self._router.chatstate(device, node)
        elif node.tag == "presence":
            await self._router.presence(device, node)
        else:
            raise InvalidError(f"message, receipt, chatstate and presence can be routed, not {node.tag!r}")

    def publish_bundle(self, device: DeviceAddress, bundle: PublishedKeys) -> None:
        """Store a device's keys; see Exchange."""
        self._device(device).keys.publish(bundle)

    def take_bundle(self, device: DeviceAddress) -> PreKeyBundle | None:
        """Take the keys to open a session with a device; see Exchange."""
        target = self.registry.device(device)
        return None if target is None else target.keys.take(device)

    def prekey_count(self, device: DeviceAddress) -> int:
        """Count a device's one-time prekeys; see Exchange."""
        target = self.registry.device(device)
        return 0 if target is None else len(target.keys)

    def store_media(self, data: bytes) -> StoredMedia:
        """Store a medium; see Exchange."""
        return self._media.store(data)

    def load_media(self, direct_path: str) -> bytes:
        """Return a stored medium; see Exchange."""
        return self._media.load(direct_path)

    def append_app_state(self, number: str, collection: str, patch: bytes) -> int:
        """Append an app-state patch; see Exchange."""
        record = self._record(number)
        version = appstate.append(record, collection, patch)
        self.spawn(self._app_state.announce(record, collection), f"simulator-app-state-{record.account.number}")
        return version

    def app_state_version(self, number: str, collection: str) -> int:
        """Return a collection's version; see Exchange."""
        return appstate.version(self._record(number), collection)

    def on_linked(self, callback: LinkedCallback) -> None:
        """Have a callback run when a companion is linked; see Exchange."""
        self._on_linked.append(callback)
