"""Delivery: from the server to a device, now or when it is back."""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import PN_SERVER

if TYPE_CHECKING:
    from gateway_worker.simulator.endpoints import DeviceAddress, Endpoint
    from gateway_worker.simulator.registry import AccountRecord, Device, Registry

_logger = logging.getLogger(__name__)


def now() -> str:
    """Return the time as stanzas carry it: seconds since the epoch."""
    return str(int(time.time()))


@dataclass(slots=True)
class Stats:
    """Counters of the whole simulator since its start.

    Attributes:
        logins: Logins.
        messages_in: Messages taken from devices.
        messages_out: Copies of messages handed to devices.
        receipts: Receipts passed on.
        bad_clients: Connections that ended because a client sent garbage.
    """

    logins: int = 0
    messages_in: int = 0
    messages_out: int = 0
    receipts: int = 0
    bad_clients: int = 0


class PostOffice:
    """Hands stanzas to devices and keeps what they have not acknowledged.

    Args:
        registry: Where the devices are.
        stats: What is counted.
    """

    def __init__(self, registry: Registry, stats: Stats) -> None:
        self._registry = registry
        self._stats = stats
        self._ids = itertools.count(1)

    def next_id(self) -> str:
        """Return an id for a stanza that the server itself sends."""
        return f"srv-{next(self._ids)}"

    async def deliver(self, device: Device, node: Node) -> None:
        """Hand a stanza over, now if the device is there and else when it is back; it is kept until acknowledged."""
        if device.is_played and device.awake and device.endpoint is not None:
            if not await self._hand_over(device.endpoint, device, node):
                device.mailbox.put(node)
        elif device.keys or device.endpoint is not None:
            device.mailbox.put(node)
            await self.flash(device, node)

    async def flash(self, device: Device, node: Node) -> None:
        """Hand over a stanza that is only worth something now, such as typing; it is dropped when nobody is there."""
        if device.endpoint is not None and device.awake:
            await self._hand_over(device.endpoint, device, node)

    async def _hand_over(self, endpoint: Endpoint, device: Device, node: Node) -> bool:
        try:
            await endpoint.deliver(node)
        except Exception:
            # A played device is somebody else's code on this task; the sender must not suffer from its defects.
            _logger.exception("device %s could not take <%s>", device.address.pn_jid, node.tag)
            return False
        if node.tag == "message":
            self._stats.messages_out += 1
        return True

    async def wake(self, device: Device) -> None:
        """Hand over everything that waits for a device that is back, in order, and let the rest flow."""
        endpoint = device.endpoint
        if endpoint is None or device.awake:
            return
        if not device.is_played:
            await endpoint.deliver(Node("ib", {"from": PN_SERVER}, [self._preview(device)]))
        last = -1
        delivered = 0
        while waiting := device.mailbox.after(last):
            for last, node in waiting:  # noqa: B007  # where the next round begins
                if device.is_played:
                    if await self._hand_over(endpoint, device, node):
                        device.mailbox.settle(node.tag, node.attrs.get("id", ""))
                else:
                    await self._hand_over(endpoint, device, Node(node.tag, node.attrs | {"offline": "1"}, node.content))
                    delivered += 1
        device.awake = True
        if not device.is_played:
            done = Node("offline", {"count": str(delivered)})
            await endpoint.deliver(Node("ib", {"from": PN_SERVER}, [done]))

    @staticmethod
    def _preview(device: Device) -> Node:
        kinds = Counter(node.tag for _, node in device.mailbox.after(-1))
        counts = {kind: str(kinds[kind]) for kind in ("message", "notification", "receipt")}
        return Node("offline_preview", {"count": str(len(device.mailbox)), "appdata": "0"} | counts)

    async def notify(self, device: Device, kind: str, sender: str, content: list[Node]) -> None:
        """Send a notification.

        Args:
            device: Who is told.
            kind: The notification's type.
            sender: JID in its ``from``.
            content: Its children.
        """
        attrs = {"type": kind, "from": sender, "id": self.next_id(), "t": now()}
        await self.deliver(device, Node("notification", attrs, content))

    async def announce_devices(self, record: AccountRecord) -> None:
        """Tell those who have asked for an account's device list that it is another one now."""
        address: DeviceAddress = record.account.address(0)
        for watcher in list(record.watchers):
            device = self._registry.device(watcher)
            if device is None:
                record.watchers.discard(watcher)
                continue
            # Clients cache the list under either form of address, and drop what they have on an update.
            for user in (address.lid_user, address.pn_user):
                await self.notify(device, "devices", user, [Node("update", {"hash": self.next_id()})])
