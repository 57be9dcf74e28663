"""What the server knows: accounts, their devices, keys, and what waits for whom. Pure state, no I/O."""

from __future__ import annotations

import logging
import re
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from gateway_worker.simulator.endpoints import (
    Account,
    DeviceAddress,
    Endpoint,
    OneTimePreKey,
    PreKeyBundle,
    PublishedKeys,
    SignedPreKey,
)
from gateway_worker.simulator.errors import AlreadyExistsError, InvalidError, PreconditionError
from gateway_worker.simulator.jids import parse_user
from gateway_worker.simulator.mailbox import Mailbox
from gateway_worker.simulator.signal.keys import KEY_SIZE, SIGNATURE_SIZE, KeyPair

COLLECTIONS: Final = ("critical_block", "critical_unblock_low", "regular_high", "regular", "regular_low")
"""The app-state collections that an account has."""

MAX_COMPANIONS: Final = 4
"""Linked devices that an account may have at a time, as on WhatsApp."""

_NUMBER: Final = re.compile(r"[1-9][0-9]{6,14}")
_FIRST_NUMBER: Final = 6281200000001
_MAX_NAME: Final = 100
_MAX_DEVICE: Final = 255
_MAX_KEY_ID: Final = 1 << 24
_MAX_REGISTRATION_ID: Final = 1 << 32
_LID_DIGITS: Final = 14
_logger = logging.getLogger(__name__)


class KeyStore:
    """The published keys of one device."""

    __slots__ = ("_identity", "_one_time", "_registration_id", "_signed")

    def __init__(self) -> None:
        self._registration_id = 0
        self._identity = b""
        self._signed: SignedPreKey | None = None
        self._one_time: deque[OneTimePreKey] = deque()

    def __bool__(self) -> bool:
        return self._signed is not None

    def __len__(self) -> int:
        return len(self._one_time)

    def publish(self, keys: PublishedKeys) -> None:
        """Replace the bundle and add its one-time prekeys; a key id that is still there is replaced.

        Raises:
            InvalidError: A key, signature or id has the wrong size.
        """
        if not 0 <= keys.registration_id < _MAX_REGISTRATION_ID:
            raise InvalidError("a registration id has 32 bits")
        _check_key(keys.identity)
        self._check_signed(keys.signed_prekey)
        for key in keys.one_time_prekeys:
            _check_key(key.public)
            _check_key_id(key.key_id)
        new_ids = {key.key_id for key in keys.one_time_prekeys}
        self._one_time = deque(key for key in self._one_time if key.key_id not in new_ids)
        self._one_time.extend(keys.one_time_prekeys)
        self._registration_id = keys.registration_id
        self._identity = keys.identity
        self._signed = keys.signed_prekey

    def rotate(self, signed: SignedPreKey) -> None:
        """Replace the signed prekey.

        Raises:
            InvalidError: Its key, signature or id has the wrong size.
        """
        self._check_signed(signed)
        self._signed = signed

    def take(self, device: DeviceAddress) -> PreKeyBundle | None:
        """Take a bundle with the next one-time prekey, if there is one; None without published keys."""
        if self._signed is None:
            return None
        one_time = self._one_time.popleft() if self._one_time else None
        return PreKeyBundle(device, self._registration_id, self._identity, self._signed, one_time)

    @staticmethod
    def _check_signed(signed: SignedPreKey) -> None:
        _check_key(signed.public)
        _check_key_id(signed.key_id)
        if len(signed.signature) != SIGNATURE_SIZE:
            raise InvalidError(f"a signature has {SIGNATURE_SIZE} bytes, not {len(signed.signature)}")


def _check_key(key: bytes) -> None:
    if len(key) != KEY_SIZE:
        raise InvalidError(f"a public key has {KEY_SIZE} bytes, not {len(key)}")


def _check_key_id(key_id: int) -> None:
    if not 0 <= key_id < _MAX_KEY_ID:
        raise InvalidError(f"a prekey's id is below {_MAX_KEY_ID}, not {key_id}")


@dataclass(slots=True, eq=False)
class Device:
    """One device of an account.

    Attributes:
        account: Whose it is.
        address: How it is addressed.
        noise_static: The static key that its connections must have; empty for played devices.
        key_index: Its index in the account's signed device list; 0 for the phone.
        keys: What it has published.
        mailbox: What it was sent and has not acknowledged.
        endpoint: Where its stanzas go; None while it is offline.
        awake: False while a client holds a connection but has not asked for its stanzas yet.
        linked: True once it has logged in and asked for its stanzas for the first time.
        available: True while it shows itself as online.
    """

    account: AccountRecord
    address: DeviceAddress
    noise_static: bytes = b""
    key_index: int = 0
    keys: KeyStore = field(default_factory=KeyStore)
    mailbox: Mailbox = field(default_factory=Mailbox)
    endpoint: Endpoint | None = None
    awake: bool = False
    linked: bool = False
    available: bool = False

    @property
    def is_played(self) -> bool:
        """True when the simulator itself plays the device: no client can log in as it."""
        return not self.noise_static


@dataclass(slots=True, eq=False)
class AccountRecord:
    """An account and everything that hangs on it.

    Attributes:
        account: Who it is.
        is_phone: True for a phone that clients can be linked to, False for a contact.
        devices: Its devices by number.
        push_name: The name that others see now; a client may change it.
        about: The text below the name.
        picture: Direct path of the profile picture; empty without one, as are the next two.
        picture_url: Its URL.
        picture_id: Its id, which changes with it.
        privacy: The settings that differ from "all".
        blocked: Numbers of accounts whose messages do not reach this one.
        patches: Serialized patches of each app-state collection; the n-th made version n.
        watchers: Devices that have asked for this account's device list, to be told when it changes.
        subscribers: Devices that want to see its presence; True for those that named it by its LID.
        last_seen: Time of the last change to offline, in seconds since the epoch; 0 if it never was online.
    """

    account: Account
    is_phone: bool = False
    devices: dict[int, Device] = field(default_factory=dict)
    push_name: str = ""
    about: str = ""
    picture: str = ""
    picture_url: str = ""
    picture_id: str = ""
    privacy: dict[str, str] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    patches: dict[str, list[bytes]] = field(default_factory=lambda: {name: [] for name in COLLECTIONS})
    watchers: set[DeviceAddress] = field(default_factory=set)
    subscribers: dict[DeviceAddress, bool] = field(default_factory=dict)
    last_seen: int = 0
    _next_device: int = 1

    @property
    def companions(self) -> list[Device]:
        """Its linked devices, by number."""
        return [device for number, device in sorted(self.devices.items()) if number]

    @property
    def available(self) -> bool:
        """True while one of its devices shows itself as online."""
        return any(device.available for device in self.devices.values())

    def reachable(self) -> list[Device]:
        """The devices that can be sent to, the phone first."""
        return [device for _, device in sorted(self.devices.items()) if device.keys]

    def add_companion(self, noise_static: bytes) -> Device:
        """Add a linked device under a number that was never used while there are such.

        Raises:
            PreconditionError: The account has as many companions as it may have.
        """
        if len(self.companions) >= MAX_COMPANIONS:
            raise PreconditionError(f"phone {self.account.number} has {MAX_COMPANIONS} linked devices already")
        number = self._next_device
        while number in self.devices:
            number = number % _MAX_DEVICE + 1
        self._next_device = number % _MAX_DEVICE + 1
        device = Device(self, self.account.address(number), noise_static, key_index=number)
        self.devices[number] = device
        return device

    def phone(self) -> Device:
        """Return device 0, which is made when it is first asked for."""
        return self.devices.setdefault(0, Device(self, self.account.address(0), awake=True, linked=True))


class Registry:
    """All accounts, by number and by LID; phones and contacts share both namespaces."""

    def __init__(self) -> None:
        self._by_number: dict[str, AccountRecord] = {}
        self._by_lid: dict[str, AccountRecord] = {}

    def create(self, number: str, push_name: str) -> AccountRecord:
        """Open an account with new identity keys.

        Args:
            number: International digits; empty for the next free one.
            push_name: Its name; empty for a made-up one.

        Raises:
            InvalidError: The number or the name is not accepted.
            AlreadyExistsError: The number is taken.
        """
        number = number or self._next_number()
        if not _NUMBER.fullmatch(number):
            raise InvalidError(f"a number is 7 to 15 digits in international form without plus, not {number!r}")
        if len(push_name) > _MAX_NAME:
            raise InvalidError(f"a name has at most {_MAX_NAME} characters")
        if number in self._by_number:
            raise AlreadyExistsError(f"number {number} is taken")
        identity = KeyPair.generate()
        account = Account(
            number=number,
            lid=self._new_lid(),
            push_name=push_name or f"Person {number[-4:]}",
            identity_private=identity.private.private_bytes_raw(),
            identity_public=identity.public,
        )
        record = AccountRecord(account, push_name=account.push_name)
        self._by_number[number] = self._by_lid[account.lid] = record
        return record

    def _next_number(self) -> str:
        number = _FIRST_NUMBER
        while str(number) in self._by_number:
            number += 1
        return str(number)

    def _new_lid(self) -> str:
        while True:
            lid = "1" + "".join(secrets.choice("0123456789") for _ in range(_LID_DIGITS))
            if lid not in self._by_lid and lid not in self._by_number:
                return lid

    def find(self, user: str) -> AccountRecord | None:
        """Find an account by number, LID or any JID of one of its devices."""
        if "@" not in user:
            return self._by_number.get(user) or self._by_lid.get(user)
        jid = parse_user(user)
        if jid is None:
            return None
        return (self._by_lid if jid.is_lid else self._by_number).get(jid.user)

    def find_device(self, jid: str) -> Device | None:
        """Find a device by its JID."""
        parsed = parse_user(jid)
        if parsed is None:
            return None
        record = (self._by_lid if parsed.is_lid else self._by_number).get(parsed.user)
        return None if record is None else record.devices.get(parsed.device)

    def device(self, address: DeviceAddress) -> Device | None:
        """Find a device by its address."""
        record = self._by_number.get(address.number)
        return None if record is None else record.devices.get(address.device)

    def accounts(self) -> list[AccountRecord]:
        """All accounts by number."""
        return [record for _, record in sorted(self._by_number.items())]
