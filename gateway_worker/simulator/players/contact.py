"""A contact: a person whose phone the simulator plays."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from gateway_worker.simulator.errors import NotFoundError
from gateway_worker.simulator.media_crypto import MediaError, decrypt_media
from gateway_worker.simulator.players.content import echo_of, is_conversation, media_of, text_message
from gateway_worker.simulator.players.device import PlayedDevice
from gateway_worker.simulator.players.inbox import Inbox
from wagateway.simulator.v1 import simulator_pb2

if TYPE_CHECKING:
    from gateway_worker.simulator.endpoints import Account, DeviceAddress, Exchange
    from gateway_worker.simulator.players.background import Background
    from gateway_worker.simulator.players.device import Arrival, Incoming
    from gateway_worker.simulator.players.inbox import Watchers
    from gateway_worker.waproto import e2e

logger = logging.getLogger(__name__)

_READING = frozenset(
    {
        simulator_pb2.BEHAVIOUR_ECHO,
        simulator_pb2.BEHAVIOUR_SCRIPT,
        simulator_pb2.BEHAVIOUR_READ,
    }
)
_LARGE_MEDIA = 256 * 1024
"""Bytes from which decrypting is worth a thread rather than a pause of the whole simulator."""


def new_message_id() -> str:
    """Make up a message id as phones do: ``3A`` and 18 hexadecimal digits."""
    return "3A" + secrets.token_hex(9).upper()


@dataclass(frozen=True, slots=True)
class Manner:
    """What a contact is like.

    Attributes:
        behaviour: What it does when a message arrives.
        script: Lines it answers with, over and over.
        answer_delay: Seconds it takes to answer.
    """

    behaviour: simulator_pb2.Behaviour.ValueType
    script: tuple[str, ...] = ()
    answer_delay: float = 0.0


class Contact:
    """A person with a phone: reads what it is sent, reports it, and answers as is its manner.

    Args:
        exchange: The server.
        account: The contact's account.
        manner: What it is like.
        background: Runs its tasks.
        watchers: Follow what it is sent.
    """

    def __init__(
        self, exchange: Exchange, account: Account, manner: Manner, background: Background, watchers: Watchers
    ) -> None:
        self.account = account
        self.inbox = Inbox(account.number)
        self.device = PlayedDevice(exchange, account, self)
        self._exchange = exchange
        self._manner = manner
        self._lines = itertools.cycle(manner.script)
        self._background = background
        self._watchers = watchers

    def start(self) -> None:
        """Switch its phone on."""
        self.device.start(self._background)

    def describe(self) -> simulator_pb2.Contact:
        """Describe the contact to the control API."""
        delay = Duration()
        delay.FromNanoseconds(round(self._manner.answer_delay * 1_000_000_000))
        return simulator_pb2.Contact(
            number=self.account.number,
            lid=self.account.lid,
            push_name=self.account.push_name,
            behaviour=self._manner.behaviour,
            script=self._manner.script,
            answer_delay=delay,
        )

    async def report(self, message_id: str, kind: str) -> None:
        """Send a receipt for a message in the inbox.

        Args:
            message_id: The message.
            kind: Type of the receipt; empty for delivered.

        Raises:
            NotFoundError: The contact was not sent such a message.
        """
        arrival = self.inbox.find(message_id)
        if arrival is None:
            raise NotFoundError(f"contact {self.account.number} was not sent a message {message_id!r}")
        await self.device.send_receipt(arrival, kind)

    async def on_message(self, incoming: Incoming) -> None:
        """Put a message into the inbox, report it, and answer it."""
        received = self.inbox.add(incoming, await self._fetch_media(incoming.message))
        self._watchers.publish(received)
        if self._is_off:
            return
        await self.device.send_receipt(incoming.arrival)
        if received.duplicate or self._manner.behaviour not in _READING:
            return
        await self.device.send_receipt(incoming.arrival, "read")
        answer = self._answer_to(incoming.message)
        if answer is not None:
            work = self._answer(incoming.arrival.sender, answer)
            self._background.spawn(work, name=f"answer of contact {self.account.number}")

    async def on_repeated(self, arrival: Arrival) -> None:
        """Report a message again: its sender seems not to know that it arrived."""
        if not self._is_off:
            await self.device.send_receipt(arrival)

    async def on_undecryptable(self, arrival: Arrival) -> None:
        """Ask for a message again."""
        if not self._is_off:
            await self.device.ask_again(arrival)

    @property
    def _is_off(self) -> bool:
        """Whether its phone is switched off. Its inbox fills all the same, so that a test can look into it."""
        return self._manner.behaviour == simulator_pb2.BEHAVIOUR_OFFLINE

    def _answer_to(self, message: e2e.Message) -> e2e.Message | None:
        """Decide what to answer, None for nothing."""
        if not is_conversation(message):
            return None
        if self._manner.behaviour == simulator_pb2.BEHAVIOUR_ECHO:
            return echo_of(message)
        if self._manner.behaviour == simulator_pb2.BEHAVIOUR_SCRIPT:
            return text_message(next(self._lines))
        return None

    async def _answer(self, asker: DeviceAddress, answer: e2e.Message) -> None:
        """Answer to the account of the device that wrote."""
        if self._manner.answer_delay:
            await asyncio.sleep(self._manner.answer_delay)
        account = self._exchange.account(asker.number)
        if account is not None:
            await self.device.send(account, answer, new_message_id())

    async def _fetch_media(self, message: e2e.Message) -> bytes:
        """Download and decrypt a message's media; empty when it has none or they are not what it says."""
        media = media_of(message)
        if media is None:
            return b""
        try:
            stored = self._exchange.load_media(media.direct_path)
            hashes = {"key": media.key, "sha256": media.sha256, "encrypted_sha256": media.encrypted_sha256}
            if len(stored) < _LARGE_MEDIA:
                return decrypt_media(stored, media.kind, **hashes)
            return await asyncio.to_thread(decrypt_media, stored, media.kind, **hashes)
        except (NotFoundError, MediaError) as error:
            logger.warning("contact %s cannot open the media of a message: %s", self.account.number, error)
            return b""
