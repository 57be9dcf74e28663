"""What people do with their phones, and what networks do to them."""

from __future__ import annotations

import enum
import time
from typing import TYPE_CHECKING, Final

from gateway_worker.simulator.connection import ClientConnection
from gateway_worker.simulator.errors import NotFoundError, PreconditionError
from gateway_worker.simulator.server import stream_logged_out, stream_replaced, stream_unavailable

if TYPE_CHECKING:
    from gateway_worker.simulator.endpoints import DeviceAddress, PlayersApi
    from gateway_worker.simulator.faults import Faults
    from gateway_worker.simulator.registry import AccountRecord, Device
    from gateway_worker.simulator.server import Server


class StreamError(enum.Enum):
    """The stream errors that can be sent on purpose."""

    REPLACED = enum.auto()
    UNAVAILABLE = enum.auto()
    LOGGED_OUT = enum.auto()


_NODES: Final = {
    StreamError.REPLACED: stream_replaced,
    StreamError.UNAVAILABLE: stream_unavailable,
    StreamError.LOGGED_OUT: stream_logged_out,
}


class Phones:
    """The phones of a simulator.

    Args:
        server: The server.
        players: Plays the phones' own devices.
    """

    def __init__(self, server: Server, players: PlayersApi) -> None:
        self._server = server
        self._players = players

    async def add(self, number: str, push_name: str) -> AccountRecord:
        """Create a phone.

        Raises:
            InvalidError: The number or name is not accepted.
            AlreadyExistsError: The number is taken.
        """
        record = self._server.registry.create(number, push_name)
        record.is_phone = True
        await self._players.add_phone(record.account)
        return record

    def all(self) -> list[AccountRecord]:
        """List the phones by number."""
        return [record for record in self._server.registry.accounts() if record.is_phone]

    def get(self, number: str) -> AccountRecord:
        """Find a phone.

        Raises:
            NotFoundError: There is none of this number.
        """
        record = self._server.registry.find(number)
        if record is None or not record.is_phone:
            raise NotFoundError(f"there is no phone {number!r}")
        return record

    async def scan(self, number: str, code: str) -> DeviceAddress:
        """Let a phone scan a code; returns when the new device has logged in.

        Raises:
            InvalidError: The text is no code.
            NotFoundError: No such phone, or no client offers the code.
            PreconditionError: The code is no longer valid, or the client does not come back.
        """
        return await self._server.link(self.get(number), code)

    async def unlink(self, number: str, device: int) -> None:
        """Remove a linked device, or all of them when ``device`` is 0: their clients are logged out.

        Raises:
            NotFoundError: No such phone or device.
        """
        record = self.get(number)
        if device and device not in record.devices:
            raise NotFoundError(f"phone {number} has no linked device {device}")
        for companion in record.companions:
            if device in (0, companion.address.device):
                await self._server.unlink(record, companion)

    def set_faults(self, number: str, faults: Faults) -> None:
        """Replace the faults of a phone, or without a number those of all.

        Raises:
            InvalidError: A value is not accepted.
            NotFoundError: No such phone.
        """
        self._server.faults.set(self.get(number).account.number if number else "", faults)

    def drop_connections(self, number: str) -> int:
        """Cut the connections of a phone's devices, or without a number every client's; returns how many there were.

        Raises:
            NotFoundError: No such phone.
        """
        devices = self.get(number).companions if number else None
        cut = [
            connection
            for connection in self._server.connections
            if devices is None or (connection.device is not None and connection.device in devices)
        ]
        for connection in cut:
            connection.abort()
        return len(cut)

    async def stream_error(self, number: str, error: StreamError) -> None:
        """Send a stream error to a phone's connected devices; LOGGED_OUT removes these devices, too.

        Raises:
            NotFoundError: No such phone.
            PreconditionError: None of its devices is connected.
        """
        record = self.get(number)
        connected = [device for device in record.companions if is_connected(device)]
        if not connected:
            raise PreconditionError(f"phone {number} has no connected device")
        for device in connected:
            if error is StreamError.LOGGED_OUT:
                await self._server.unlink(record, device)
            else:
                self._server.kick(device, _NODES[error]())

    def connected_devices(self) -> int:
        """Count the devices that are logged in."""
        return sum(connection.device is not None for connection in self._server.connections)

    @staticmethod
    def cpu_seconds() -> float:
        """CPU time that this process has used, in seconds."""
        return time.process_time()


def is_connected(device: Device) -> bool:
    """Say whether a client holds a logged-in connection as this device."""
    return isinstance(device.endpoint, ClientConnection)
