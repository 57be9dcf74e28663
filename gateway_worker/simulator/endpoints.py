"""The seam between the simulated server and the devices that it serves.

A device is either a client's connection or one that the simulator plays itself: a contact's phone, or the own device 0
of a phone that companions are linked to. To the server both are an :class:`Endpoint`. To a played device the server is
an :class:`Exchange`, which takes stanzas exactly as the socket takes a client's. The control API drives the played
devices through :class:`PlayersApi`.

Addresses: an account has a phone number and a hidden id (LID). Either may stand wherever an address is read, and the
exchange answers in the form it was asked in. JIDs are plain strings, ``6281200000001:3@s.whatsapp.net`` or
``100000000000001:3@lid``; device 0 is written without ``:0``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway_worker.simulator.binary import Node
    from wagateway.simulator.v1 import simulator_pb2

PN_SERVER = "s.whatsapp.net"
"""Server part of JIDs that carry a phone number, and the address of the server itself."""

LID_SERVER = "lid"
"""Server part of JIDs that carry a hidden id."""


def render_jid(user: str, device: int, server: str) -> str:
    """Render a JID; device 0 is left out, as WhatsApp does."""
    return f"{user}:{device}@{server}" if device else f"{user}@{server}"


@dataclass(frozen=True, slots=True)
class DeviceAddress:
    """One device of one account, addressable by phone number and by LID.

    Attributes:
        number: Phone number in international digits without plus.
        lid: Digits of the account's hidden id.
        device: 0 is the phone itself, companions count from 1 (at most 255, what the wire format can carry).
    """

    number: str
    lid: str
    device: int

    @property
    def pn_jid(self) -> str:
        """The device's JID by phone number, for example ``6281200000001:3@s.whatsapp.net``."""
        return render_jid(self.number, self.device, PN_SERVER)

    @property
    def lid_jid(self) -> str:
        """The device's JID by hidden id, for example ``100000000000001:3@lid``."""
        return render_jid(self.lid, self.device, LID_SERVER)

    @property
    def pn_user(self) -> str:
        """The account's JID by phone number, without the device."""
        return f"{self.number}@{PN_SERVER}"

    @property
    def lid_user(self) -> str:
        """The account's JID by hidden id, without the device."""
        return f"{self.lid}@{LID_SERVER}"

    def sibling(self, device: int) -> DeviceAddress:
        """Address of another device of the same account."""
        return DeviceAddress(self.number, self.lid, device)


@dataclass(frozen=True, slots=True)
class Account:
    """A WhatsApp account: a phone that companions are linked to, or a contact.

    Attributes:
        number: Phone number in international digits without plus.
        lid: Digits of the hidden id.
        push_name: Name that others see.
        identity_private: X25519 private key, 32 bytes. It signs companions (XEdDSA) and is the Signal identity of
            device 0: a client remembers it from pairing and expects it again in sessions with device 0.
        identity_public: The X25519 public key, 32 bytes, without Signal's ``05`` prefix.
    """

    number: str
    lid: str
    push_name: str
    identity_private: bytes
    identity_public: bytes

    def address(self, device: int) -> DeviceAddress:
        """Address of one of the account's devices."""
        return DeviceAddress(self.number, self.lid, device)


@dataclass(frozen=True, slots=True)
class OneTimePreKey:
    """A prekey that is given away once.

    Attributes:
        key_id: 24-bit id.
        public: X25519 public key, 32 bytes.
    """

    key_id: int
    public: bytes


@dataclass(frozen=True, slots=True)
class SignedPreKey:
    """The prekey that a device signs with its identity key.

    Attributes:
        key_id: 24-bit id.
        public: X25519 public key, 32 bytes.
        signature: XEdDSA signature over ``05 || public`` by the identity key, 64 bytes.
    """

    key_id: int
    public: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """What a device hands to the server so that others can open Signal sessions with it.

    Attributes:
        registration_id: 32-bit Signal registration id.
        identity: X25519 identity public key, 32 bytes, without the ``05`` prefix.
        signed_prekey: The signed prekey now valid.
        one_time_prekeys: Keys added to the device's store; the rest of the bundle replaces the previous one.
    """

    registration_id: int
    identity: bytes
    signed_prekey: SignedPreKey
    one_time_prekeys: Sequence[OneTimePreKey] = ()


@dataclass(frozen=True, slots=True)
class PreKeyBundle:
    """What the server hands out to a device that opens a Signal session.

    Attributes:
        device: Whose keys these are.
        registration_id: 32-bit Signal registration id.
        identity: X25519 identity public key, 32 bytes, without the ``05`` prefix.
        signed_prekey: The signed prekey.
        one_time_prekey: A one-time prekey, given to nobody else; None when the device has run out of them.
    """

    device: DeviceAddress
    registration_id: int
    identity: bytes
    signed_prekey: SignedPreKey
    one_time_prekey: OneTimePreKey | None


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """Where an uploaded (encrypted) medium can be had.

    Attributes:
        url: ``https://mmg.whatsapp.net/…``, as a message's ``url`` field carries it.
        direct_path: ``/v/…``, as a message's ``directPath`` field carries it.
    """

    url: str
    direct_path: str


class Endpoint(Protocol):
    """Where the stanzas for one device go: a client's connection, or a device that the simulator plays."""

    async def deliver(self, node: Node) -> None:
        """Take a stanza from the server.

        Played devices get ``message``, ``receipt``, ``chatstate``, ``presence`` and ``notification`` stanzas, in the
        order in which the server took them; never acks for what they sent, and they need not ack what they get. A
        ``message`` carries the ``enc`` for this device as a direct child, ``from`` is the sending device in the
        address form its sender chose, ``sender_pn``/``sender_lid`` the other form, ``recipient`` (own devices only)
        the chat it belongs to.

        It is called on the server's task for the sending device: quick work only, long work belongs on a task of the
        endpoint's own. An exception is logged and counts as not delivered.
        """
        ...


LinkedCallback = Callable[[Account, DeviceAddress], Awaitable[None]]
"""Called with the phone's account and the new companion's address, once, when it has logged in for the first time."""


class Exchange(Protocol):
    """The server, as the devices that the simulator plays see it."""

    def create_account(self, number: str, push_name: str) -> Account:
        """Open an account with new identity keys, for a contact or a phone: they share one namespace.

        Args:
            number: International digits without plus; empty for the next free one.
            push_name: Name that others see; empty for a made-up one.

        Raises:
            InvalidError: The number is not 7 to 15 digits, or the name is longer than 100 characters.
            AlreadyExistsError: The number is taken.
        """
        ...

    def account(self, user: str) -> Account | None:
        """Find an account by bare number digits, bare LID digits, or any JID of one of its devices."""
        ...

    def devices(self, number: str) -> list[DeviceAddress]:
        """List the devices of an account that can be sent to: those with published keys, device 0 first.

        Returns an empty list for an unknown account. ``number`` may be anything that :meth:`account` takes.
        """
        ...

    def attach(self, device: DeviceAddress, endpoint: Endpoint) -> None:
        """Deliver this device's stanzas to ``endpoint`` from now on.

        Those queued for it come first, by a task of the server's. A client's connection that held the device is ended
        as replaced.
        """
        ...

    def detach(self, device: DeviceAddress, endpoint: Endpoint) -> None:
        """Stop delivering to ``endpoint`` and queue instead; does nothing when another one has taken over."""
        ...

    async def route(self, sender: DeviceAddress, node: Node) -> None:
        """Treat ``node`` as if ``sender`` had sent it over a socket.

        Accepts ``message`` (``to``, ``id``, ``type``, and either ``participants``/``to``/``enc`` or a direct ``enc``
        for one device), ``receipt`` (``to``, ``id``, ``type``, ``participant``/``recipient``), ``presence``
        (``type``, ``to``) and ``chatstate`` (``to``). The server sets ``from``, ``t``, ``notify`` and the
        ``sender_*`` attributes of what it delivers. A recipient that does not exist is as silent as on the real
        network.

        Raises:
            InvalidError: The stanza is of another kind or lacks what it needs.
        """
        ...

    def publish_bundle(self, device: DeviceAddress, bundle: PublishedKeys) -> None:
        """Store the device's keys; its one-time prekeys are added to those not yet given away.

        Raises:
            InvalidError: A key or signature has the wrong length.
            NotFoundError: No such account.
        """
        ...

    def take_bundle(self, device: DeviceAddress) -> PreKeyBundle | None:
        """Take the keys to open a session with a device; each one-time prekey is given once. None: no keys."""
        ...

    def prekey_count(self, device: DeviceAddress) -> int:
        """Count the device's one-time prekeys that are not yet given away."""
        ...

    def store_media(self, data: bytes) -> StoredMedia:
        """Store an encrypted medium as an HTTPS upload does.

        Raises:
            InvalidError: It is empty or larger than the simulator takes.
        """
        ...

    def load_media(self, direct_path: str) -> bytes:
        """Return a stored medium by its direct path or its whole URL; a query string is ignored.

        Raises:
            NotFoundError: Nothing is stored there.
        """
        ...

    def append_app_state(self, number: str, collection: str, patch: bytes) -> int:
        """Append a patch to one of the account's app-state collections and tell its connected companions.

        Args:
            number: The phone.
            collection: ``critical_block``, ``critical_unblock_low``, ``regular_high``, ``regular`` or ``regular_low``.
            patch: A serialized ``SyncdPatch``, its ``version`` set to the collection's next one.

        Returns:
            The collection's new version; the first patch makes it 1.

        Raises:
            InvalidError: No such collection, or the patch's version is not the next one.
            NotFoundError: No such account.
        """
        ...

    def app_state_version(self, number: str, collection: str) -> int:
        """Return a collection's version, 0 while it is empty.

        Raises:
            InvalidError: No such collection.
            NotFoundError: No such account.
        """
        ...

    def on_linked(self, callback: LinkedCallback) -> None:
        """Have ``callback`` run (on a task of its own) when a companion has logged in for the first time.

        By then its keys are published and it is connected. An exception is logged.
        """
        ...


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a contact says: exactly one of text, image and content.

    Attributes:
        text: A text message.
        image: A JPEG or PNG file.
        content: A serialized ``WAWebProtobufsE2E.Message``.
        caption: Caption of the image.
        message_id: Id to use; empty for a made-up one. An id used before replays it: a new copy under the old id.
    """

    text: str | None = None
    image: bytes | None = None
    content: bytes | None = None
    caption: str = ""
    message_id: str = ""


class PlayersApi(Protocol):
    """The devices that the simulator plays, as the control API drives them.

    ``contact`` and ``phone`` are numbers; a LID or a JID of theirs is taken too. Unless it says otherwise, a method
    raises NotFoundError for an unknown contact, phone or message, and InvalidError for a value that is not accepted.
    """

    async def add_contact(
        self,
        number: str,
        push_name: str,
        behaviour: simulator_pb2.Behaviour.ValueType,
        script: Sequence[str],
        answer_delay: float,
    ) -> simulator_pb2.Contact:
        """Create a contact with keys of its own and attach it.

        Args:
            number: International digits; empty for the next free one.
            push_name: Its name; empty for a made-up one.
            behaviour: What it does when a message arrives.
            script: Lines it answers with (``BEHAVIOUR_SCRIPT`` only, and then at least one).
            answer_delay: Seconds it takes to answer, 0 or more.

        Raises:
            AlreadyExistsError: The number is taken.
        """
        ...

    def contacts(self) -> list[simulator_pb2.Contact]:
        """List the contacts by number."""
        ...

    async def add_phone(self, phone: Account) -> None:
        """Play device 0 of a phone that the server has just created, and greet the companions it gets."""
        ...

    async def say(self, contact: str, phone: str, what: Utterance) -> str:
        """Send a message from a contact to a phone and its linked devices; returns the message's id."""
        ...

    async def typing(self, contact: str, phone: str, *, composing: bool) -> None:
        """Show the contact as typing to the phone's devices, or as having stopped."""
        ...

    async def receipt(self, contact: str, message_id: str, kind: simulator_pb2.ReceiptKind.ValueType) -> None:
        """Report a message that the contact was sent as delivered, read or played."""
        ...

    def inbox(self, contact: str) -> list[simulator_pb2.ReceivedMessage]:
        """List what the contact was sent, oldest first."""
        ...

    def watch(self, contact: str) -> AsyncIterator[simulator_pb2.ReceivedMessage]:
        """Follow what the contact is sent from the moment of this call; an empty string means every contact."""
        ...

    async def aclose(self) -> None:
        """Stop every task that the players run."""
        ...
