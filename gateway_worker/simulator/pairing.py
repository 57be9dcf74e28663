"""Linking a new device by QR code: what the server offers, what the phone does when it scans."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from google.protobuf.message import DecodeError as ProtobufDecodeError

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import PN_SERVER, DeviceAddress, PublishedKeys, SignedPreKey
from gateway_worker.simulator.errors import BadClientError, InvalidError, NotFoundError, PreconditionError
from gateway_worker.simulator.post import now
from gateway_worker.simulator.query import QueryError, require
from gateway_worker.simulator.registry import KeyStore
from gateway_worker.simulator.signal.errors import InvalidSignatureError
from gateway_worker.simulator.signal.keys import KEY_SIZE, KeyPair, verify_signature
from gateway_worker.waproto import adv

if TYPE_CHECKING:
    from gateway_worker.simulator.registry import AccountRecord, Device
    from gateway_worker.waproto import wa6

REF_LIFETIMES: Final = (60.0, 20.0, 20.0, 20.0, 20.0, 20.0)
"""Seconds for which the refs of one offer are valid, one after the other; clients show each for as long."""

REF_GRACE: Final = 5.0
"""Seconds for which a ref is still taken after its time: its code was on the screen a moment ago."""

_CONFIRMATION: Final = 15.0  # seconds
_ACCOUNT_SIGNATURE: Final = b"\x06\x00"
_DEVICE_SIGNATURE: Final = b"\x06\x01"
_REMEMBERED: Final = 1000
_LINK: Final = re.compile(r"https://wa\.me/settings/linked_devices#(.*)", re.DOTALL)
_logger = logging.getLogger(__name__)


class Candidate(Protocol):
    """The connection of a client that wants to be linked."""

    def send(self, node: Node) -> None:
        """Send a stanza."""
        ...

    def end(self, error: Node) -> None:
        """Send a stream error and close."""
        ...


@dataclass(slots=True, eq=False)
class Offer:
    """A client's offer to be linked.

    Attributes:
        candidate: Its connection.
        registration: The keys that it registers with.
        noise_static: The static key of its connection; that of the device that it becomes.
        refs: The refs in its codes, with the time of the event loop until which each is valid.
        question: Id of the stanza that tells the client that it is linked; empty until it has been scanned.
        confirmed: The client's answer to that.
    """

    candidate: Candidate
    registration: wa6.ClientPayload.DevicePairingRegistrationData
    noise_static: bytes
    refs: dict[str, float]
    question: str = ""
    confirmed: asyncio.Future[Node] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def answer(self, iq: Node) -> None:
        """Take a result or error from the client; it answers refs, too, which nobody waits for."""
        if self.question and iq.attrs["id"] == self.question and not self.confirmed.done():
            self.confirmed.set_result(iq)


@dataclass(frozen=True, slots=True)
class _Code:
    """What a QR code says: the ref, the client's public keys, and the secret that only who sees the code knows."""

    ref: str
    noise: bytes
    identity: bytes
    secret: bytes

    @classmethod
    def parse(cls, text: str) -> _Code:
        """Parse a code.

        Raises:
            InvalidError: It is no code.
        """
        match = _LINK.fullmatch(text.strip())
        parts = (match[1] if match else text.strip()).split(",")
        try:
            ref, *rest = parts
            noise, identity, secret = (b64decode(part, validate=True) for part in rest[:3])
        except (ValueError, Base64Error):
            raise InvalidError("a code is ref,noise key,identity key,secret, the last three in base64") from None
        if {len(noise), len(identity), len(secret)} != {KEY_SIZE}:
            raise InvalidError(f"a code's keys and secret have {KEY_SIZE} bytes each")
        return cls(ref, noise, identity, secret)


def registered_keys(registration: wa6.ClientPayload.DevicePairingRegistrationData) -> PublishedKeys:
    """Return the keys that a client registers with; its one-time prekeys come after its first login."""
    signed = SignedPreKey(int.from_bytes(registration.eSkeyID, "big"), registration.eSkeyVal, registration.eSkeySig)
    return PublishedKeys(int.from_bytes(registration.eRegid, "big"), registration.eIdent, signed)


class PairingDesk:
    """The offers that are open.

    Args:
        lifetimes: Seconds for which each ref of an offer is valid, one after the other.
        grace: Seconds for which a ref is still taken after its time.
    """

    def __init__(self, lifetimes: tuple[float, ...] = REF_LIFETIMES, grace: float = REF_GRACE) -> None:
        self._lifetimes = lifetimes
        self._grace = grace
        self._offers: dict[str, Offer] = {}
        self._gone: dict[str, None] = {}

    def open(
        self,
        candidate: Candidate,
        registration: wa6.ClientPayload.DevicePairingRegistrationData,
        noise_static: bytes,
        stanza_id: str,
    ) -> Offer:
        """Give a client refs to put into its codes.

        Raises:
            BadClientError: The keys that it registers with cannot be keys.
        """
        try:
            keys = registered_keys(registration)
            KeyStore().publish(keys)
            verify_signature(keys.identity, b"\x05" + keys.signed_prekey.public, keys.signed_prekey.signature)
        except (InvalidError, InvalidSignatureError) as error:
            raise BadClientError(f"a client registers with keys that do not fit: {error}") from None
        until = asyncio.get_running_loop().time() + self._grace
        refs = {}
        for lifetime in self._lifetimes:
            until += lifetime
            refs[f"2@{secrets.token_urlsafe(96)}"] = until
        offer = Offer(candidate, registration, noise_static, refs)
        self._offers |= dict.fromkeys(refs, offer)
        content = Node("pair-device", {}, [Node("ref", {}, ref.encode()) for ref in refs])
        candidate.send(Node("iq", {"from": PN_SERVER, "type": "set", "id": stanza_id}, [content]))
        return offer

    def close(self, offer: Offer) -> None:
        """Forget an offer: its client has gone, or is linked."""
        for ref in offer.refs:
            self._offers.pop(ref, None)
            self._gone[ref] = None
        while len(self._gone) > _REMEMBERED:
            del self._gone[next(iter(self._gone))]
        if not offer.confirmed.done():
            offer.confirmed.set_exception(PreconditionError("the client went away before it was linked"))
            # Nobody may be waiting, and that is no defect to be reported.
            offer.confirmed.exception()

    async def scan(self, record: AccountRecord, code: str, stanza_id: str) -> Device:
        """Link the client that shows this code to a phone; it is disconnected and will log in as the new device.

        Args:
            record: The phone's account.
            code: The text in the QR code.
            stanza_id: Id for the stanza that tells the client.

        Raises:
            InvalidError: The text is no code.
            NotFoundError: No client offers it.
            PreconditionError: It is no longer valid, or the client does not accept.
        """
        parsed = _Code.parse(code)
        offer = self._offers.get(parsed.ref)
        if offer is None:
            if parsed.ref in self._gone:
                raise PreconditionError("the code is no longer valid: its client has gone or is linked")
            raise NotFoundError("no client offers this code")
        if offer.question:
            raise PreconditionError("the code has been scanned already")
        if asyncio.get_running_loop().time() > offer.refs[parsed.ref]:
            raise PreconditionError("the code is no longer valid: a newer one has taken its place")
        if (parsed.noise, parsed.identity) != (offer.noise_static, offer.registration.eIdent):
            raise PreconditionError("the keys in the code are not those of the client that offers it")
        device = record.add_companion(offer.noise_static)
        offer.question = stanza_id
        try:
            await self._link(device, offer, parsed.secret, stanza_id)
        except BaseException:
            record.devices.pop(device.address.device, None)
            raise
        device.keys.publish(registered_keys(offer.registration))
        offer.candidate.end(Node("stream:error", {"code": "515"}))
        return device

    @staticmethod
    async def _link(device: Device, offer: Offer, secret: bytes, stanza_id: str) -> None:
        account = device.account.account
        identity = offer.registration.eIdent
        details = adv.ADVDeviceIdentity(
            rawID=secrets.randbits(31), timestamp=int(time.time()), keyIndex=device.key_index
        ).SerializeToString()
        signature = KeyPair.from_private(account.identity_private).sign(_ACCOUNT_SIGNATURE + details + identity)
        signed = adv.ADVSignedDeviceIdentity(
            details=details, accountSignatureKey=account.identity_public, accountSignature=signature
        ).SerializeToString()
        sealed = adv.ADVSignedDeviceIdentityHMAC(
            details=signed, HMAC=hmac.digest(secret, signed, hashlib.sha256)
        ).SerializeToString()
        offer.candidate.send(_pair_success(device.address, sealed, stanza_id))
        try:
            answer = await asyncio.wait_for(asyncio.shield(offer.confirmed), _CONFIRMATION)
        except TimeoutError:
            raise PreconditionError(f"the client did not confirm within {_CONFIRMATION:g} s") from None
        if answer.attrs.get("type") != "result":
            error = answer.child("error") or Node("error")
            raise PreconditionError(f"the client refused to be linked: {error.attrs.get('text', 'no reason given')}")
        try:
            own = require(require(answer.child("pair-device-sign")).child("device-identity"))
            confirmed = adv.ADVSignedDeviceIdentity.FromString(own.data)
            message = _DEVICE_SIGNATURE + details + identity + account.identity_public
            verify_signature(identity, message, confirmed.deviceSignature)
        except (QueryError, ProtobufDecodeError, InvalidSignatureError) as error:
            raise PreconditionError(f"the client's confirmation is not signed by it: {error}") from None


def _pair_success(address: DeviceAddress, sealed: bytes, stanza_id: str) -> Node:
    content = [
        Node("device-identity", {}, sealed),
        Node("device", {"jid": address.pn_jid, "lid": address.lid_jid}),
        Node("platform", {"name": "android"}),
    ]
    attrs = {"from": PN_SERVER, "type": "set", "id": stanza_id, "t": now()}
    return Node("iq", attrs, [Node("pair-success", {}, content)])
