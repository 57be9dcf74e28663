"""The phone that companions are linked to: device 0 of a phone's account."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway_worker.simulator.players.app_state import CRITICAL_BLOCK, AppStateKey, push_name_patch
from gateway_worker.simulator.players.contact import new_message_id
from gateway_worker.simulator.players.device import PlayedDevice
from gateway_worker.waproto import e2e

if TYPE_CHECKING:
    from gateway_worker.simulator.endpoints import Account, DeviceAddress, Exchange
    from gateway_worker.simulator.players.background import Background
    from gateway_worker.simulator.players.device import Arrival, Incoming

logger = logging.getLogger(__name__)


class Phone:
    """A phone: keeps up with its account's messages and gives its companions what they need to begin.

    What a companion sends to others it also sends here, and what others send to the account arrives here too. The
    phone reads and acknowledges both, as WhatsApp's phones do, and does nothing else with them.

    Args:
        exchange: The server.
        account: The phone's account.
        background: Runs its tasks.
    """

    def __init__(self, exchange: Exchange, account: Account, background: Background) -> None:
        self.account = account
        self.device = PlayedDevice(exchange, account, self)
        self._exchange = exchange
        self._background = background
        self._app_state_key = AppStateKey()

    def start(self) -> None:
        """Switch it on; its push name goes into the app state, where companions will look for it."""
        patch = push_name_patch(self._app_state_key, self.account.push_name)
        self._exchange.append_app_state(self.account.number, CRITICAL_BLOCK, patch)
        self.device.start(self._background)

    async def greet(self, companion: DeviceAddress) -> None:
        """Share the app-state key with a companion: it can read the push name then."""
        await self.device.send_peer(companion, self._app_state_key.share(), new_message_id())

    async def on_message(self, incoming: Incoming) -> None:
        """Acknowledge a message, and answer a companion that asks for the app-state key."""
        arrival = incoming.arrival
        if arrival.sender.number != self.account.number:
            await self.device.send_receipt(arrival)
            return
        is_peer = arrival.node.attrs.get("category") == "peer"
        await self.device.send_receipt(arrival, "peer_msg" if is_peer else "sender")
        if incoming.message.protocolMessage.type == e2e.ProtocolMessage.APP_STATE_SYNC_KEY_REQUEST:
            await self.greet(arrival.sender)

    async def on_repeated(self, arrival: Arrival) -> None:
        """Leave a repeated message alone."""

    async def on_undecryptable(self, arrival: Arrival) -> None:
        """Ask for a message again."""
        await self.device.ask_again(arrival)
