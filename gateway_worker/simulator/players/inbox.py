"""What contacts were sent, and who follows it."""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from gateway_worker.simulator.players.content import kind_of, text_of
from wagateway.simulator.v1 import simulator_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway_worker.simulator.players.device import Arrival, Incoming

MAX_MESSAGES = 10_000
"""Messages that an inbox keeps; the oldest give way, so that a benchmark's contact does not fill the memory."""


class Inbox:
    """The messages of one contact, oldest first."""

    def __init__(self, contact: str) -> None:
        self._contact = contact
        self._messages: list[simulator_pb2.ReceivedMessage] = []
        self._arrivals: OrderedDict[tuple[str, str], Arrival] = OrderedDict()

    def add(self, incoming: Incoming, media: bytes) -> simulator_pb2.ReceivedMessage:
        """Record a message, as a duplicate when one with its sender and id is here already.

        Args:
            incoming: The message.
            media: Its decrypted media; empty when it has none or they could not be had.
        """
        arrival = incoming.arrival
        key = arrival.sender.pn_jid, arrival.id
        time = Timestamp()
        time.GetCurrentTime()
        received = simulator_pb2.ReceivedMessage(
            id=arrival.id,
            contact=self._contact,
            sender=arrival.sender.pn_jid,
            time=time,
            content=incoming.content,
            text=text_of(incoming.message),
            kind=kind_of(incoming.message),
            media=media,
            stanza_tags=_tags(arrival),
            duplicate=key in self._arrivals,
        )
        self._arrivals[key] = arrival
        self._messages.append(received)
        if len(self._messages) > MAX_MESSAGES:
            del self._messages[0]
        if len(self._arrivals) > MAX_MESSAGES:
            self._arrivals.popitem(last=False)
        return received

    def find(self, message_id: str) -> Arrival | None:
        """Return how the latest message with this id came; None when there is none."""
        return next((arrival for key, arrival in reversed(self._arrivals.items()) if key[1] == message_id), None)

    def __iter__(self) -> Iterator[simulator_pb2.ReceivedMessage]:
        return iter(self._messages)


class Watchers:
    """Everybody who follows inboxes from some moment on."""

    def __init__(self) -> None:
        # A watcher that is no longer iterated is forgotten as soon as it is collected.
        self._subscriptions: weakref.WeakSet[_Subscription] = weakref.WeakSet()

    def subscribe(self, contact: str) -> AsyncIterator[simulator_pb2.ReceivedMessage]:
        """Follow a contact from the moment of this call; an empty string means every contact."""
        subscription = _Subscription(contact)
        self._subscriptions.add(subscription)
        return subscription

    def publish(self, message: simulator_pb2.ReceivedMessage) -> None:
        """Tell those who follow its contact of a message."""
        for subscription in list(self._subscriptions):
            if subscription.contact in {"", message.contact}:
                subscription.queue.put_nowait(message)

    def close(self) -> None:
        """End every subscription after what it still has to say."""
        for subscription in list(self._subscriptions):
            subscription.queue.put_nowait(None)


class _Subscription:
    """An asynchronous iterator over messages to come."""

    def __init__(self, contact: str) -> None:
        self.contact = contact
        self.queue: asyncio.Queue[simulator_pb2.ReceivedMessage | None] = asyncio.Queue()

    def __aiter__(self) -> _Subscription:
        return self

    async def __anext__(self) -> simulator_pb2.ReceivedMessage:
        message = await self.queue.get()
        if message is None:
            self.queue.put_nowait(None)  # every further call ends as well
            raise StopAsyncIteration
        return message


def _tags(arrival: Arrival) -> list[str]:
    """List the stanza's attributes as ``name=value``, then the tags of its children."""
    attributes = [f"{name}={value}" for name, value in arrival.node.attrs.items()]
    return [*attributes, *(child.tag for child in arrival.node.children())]
