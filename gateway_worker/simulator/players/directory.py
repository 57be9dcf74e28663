"""Everybody whom the simulator plays, as the control API drives them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gateway_worker.simulator.errors import InvalidError, NotFoundError
from gateway_worker.simulator.players.background import Background
from gateway_worker.simulator.players.contact import Contact, Manner, new_message_id
from gateway_worker.simulator.players.content import image_message, kind_of, set_media_location, text_message
from gateway_worker.simulator.players.inbox import Watchers
from gateway_worker.simulator.players.phone import Phone
from gateway_worker.waproto import e2e
from wagateway.simulator.v1 import simulator_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway_worker.simulator.endpoints import Account, DeviceAddress, Exchange, Utterance

_RECEIPT_TYPES: dict[simulator_pb2.ReceiptKind.ValueType, str] = {
    simulator_pb2.RECEIPT_KIND_DELIVERED: "",
    simulator_pb2.RECEIPT_KIND_READ: "read",
    simulator_pb2.RECEIPT_KIND_PLAYED: "played",
}


class Players:
    """The contacts, and device 0 of every phone. Implements ``endpoints.PlayersApi``, which documents the methods.

    Args:
        exchange: The server.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._background = Background()
        self._watchers = Watchers()
        self._contacts: dict[str, Contact] = {}
        self._phones: dict[str, Phone] = {}
        exchange.on_linked(self._greet)

    async def add_contact(
        self,
        number: str,
        push_name: str,
        behaviour: simulator_pb2.Behaviour.ValueType,
        script: Sequence[str],
        answer_delay: float,
    ) -> simulator_pb2.Contact:
        """Create a contact with keys of its own and attach it."""
        manner = _manner(behaviour, script, answer_delay)
        account = self._exchange.create_account(number, push_name)
        contact = Contact(self._exchange, account, manner, self._background, self._watchers)
        contact.start()
        self._contacts[account.number] = contact
        return contact.describe()

    def contacts(self) -> list[simulator_pb2.Contact]:
        """List the contacts by number."""
        return [self._contacts[number].describe() for number in sorted(self._contacts)]

    async def add_phone(self, phone: Account) -> None:
        """Play device 0 of a phone that the server has just created, and greet the companions it gets."""
        player = Phone(self._exchange, phone, self._background)
        player.start()
        self._phones[phone.number] = player

    async def say(self, contact: str, phone: str, what: Utterance) -> str:
        """Send a message from a contact to a phone and its linked devices; returns the message's id."""
        speaker, listener = self._contact(contact), self._phone(phone)
        message = await self._compose(what)
        message_id = what.message_id or new_message_id()
        await speaker.device.send(listener.account, message, message_id)
        return message_id

    async def typing(self, contact: str, phone: str, *, composing: bool) -> None:
        """Show the contact as typing to the phone's devices, or as having stopped."""
        state = "composing" if composing else "paused"
        await self._contact(contact).device.send_chat_state(self._phone(phone).account, state)

    async def receipt(self, contact: str, message_id: str, kind: simulator_pb2.ReceiptKind.ValueType) -> None:
        """Report a message that the contact was sent as delivered, read or played."""
        if kind not in _RECEIPT_TYPES:
            raise InvalidError("a receipt's kind is delivered, read or played")
        await self._contact(contact).report(message_id, _RECEIPT_TYPES[kind])

    def inbox(self, contact: str) -> list[simulator_pb2.ReceivedMessage]:
        """List what the contact was sent, oldest first."""
        return list(self._contact(contact).inbox)

    def watch(self, contact: str) -> AsyncIterator[simulator_pb2.ReceivedMessage]:
        """Follow what the contact is sent from the moment of this call; an empty string means every contact."""
        return self._watchers.subscribe(self._contact(contact).account.number if contact else "")

    async def aclose(self) -> None:
        """Stop every task that the players run."""
        self._watchers.close()
        await self._background.aclose()

    async def _greet(self, phone: Account, companion: DeviceAddress) -> None:
        """Let the phone that a companion was linked to greet it."""
        await self._phone(phone.number).greet(companion)

    async def _compose(self, what: Utterance) -> e2e.Message:
        """Build the message that an utterance means."""
        if sum(part is not None for part in (what.text, what.image, what.content)) != 1:
            raise InvalidError("exactly one of text, image and content is said")
        if what.caption and what.image is None:
            raise InvalidError("only an image has a caption")
        if what.image is not None:
            # Decoding and shrinking a photo takes tens of milliseconds.
            message, encrypted = await asyncio.to_thread(image_message, what.image, what.caption)
            set_media_location(message, self._exchange.store_media(encrypted))
            return message
        if what.content is not None:
            return _parse(what.content)
        return text_message(what.text or "")

    def _contact(self, user: str) -> Contact:
        account = self._exchange.account(user)
        contact = self._contacts.get(account.number) if account is not None else None
        if contact is None:
            raise NotFoundError(f"there is no contact {user!r}")
        return contact

    def _phone(self, user: str) -> Phone:
        account = self._exchange.account(user)
        phone = self._phones.get(account.number) if account is not None else None
        if phone is None:
            raise NotFoundError(f"there is no phone {user!r}")
        return phone


def _manner(behaviour: simulator_pb2.Behaviour.ValueType, script: Sequence[str], answer_delay: float) -> Manner:
    """Check what a contact shall be like."""
    if behaviour not in simulator_pb2.Behaviour.values():
        raise InvalidError(f"there is no behaviour {behaviour}")
    is_scripted = behaviour == simulator_pb2.BEHAVIOUR_SCRIPT
    if is_scripted != bool(script):
        raise InvalidError("a script of at least one line goes with the behaviour SCRIPT, and with no other")
    if not 0 <= answer_delay < float("inf"):
        raise InvalidError("the answer delay is 0 seconds or more")
    silent = behaviour == simulator_pb2.BEHAVIOUR_UNSPECIFIED
    return Manner(simulator_pb2.BEHAVIOUR_SILENT if silent else behaviour, tuple(script), answer_delay)


def _parse(content: bytes) -> e2e.Message:
    """Read a message that somebody else built."""
    try:
        message = e2e.Message.FromString(content)
    except DecodeError as error:
        raise InvalidError("the content is not a serialized WAWebProtobufsE2E.Message") from error
    if not kind_of(message):
        raise InvalidError("the content is an empty message")
    return message
