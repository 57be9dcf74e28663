"""The rules of routing, with devices that only write down what they get."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import (
    DeviceAddress,
    Exchange,
    OneTimePreKey,
    PublishedKeys,
    SignedPreKey,
)
from gateway_worker.simulator.errors import AlreadyExistsError, InvalidError, NotFoundError
from gateway_worker.simulator.media import MediaStore
from gateway_worker.simulator.noise import ServerIdentity
from gateway_worker.simulator.server import Server
from gateway_worker.simulator.settings import SimulatorSettings
from gateway_worker.waproto import server_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class Recorder:
    """An endpoint that keeps what it is given; or fails."""

    nodes: list[Node] = field(default_factory=list)
    broken: bool = False

    async def deliver(self, node: Node) -> None:
        """Keep a stanza."""
        if self.broken:
            raise RuntimeError("this device is out of order")
        self.nodes.append(node)

    def take(self, tag: str) -> list[Node]:
        """Take the stanzas of a tag."""
        taken = [node for node in self.nodes if node.tag == tag]
        self.nodes = [node for node in self.nodes if node.tag != tag]
        return taken


@dataclass
class Person:
    """An account of which every device is recorded."""

    address: DeviceAddress
    devices: dict[int, Recorder]


KEYS = PublishedKeys(1, bytes(32), SignedPreKey(1, bytes(32), bytes(64)), [OneTimePreKey(1, bytes(32))])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server without connections."""
    server = Server(SimulatorSettings(file=tmp_path / "x"), ServerIdentity.generate(), MediaStore(1 << 20, "secret"))
    yield server
    await server.aclose()


async def _person(server: Server, companions: int = 0) -> Person:
    account = server.create_account("", "")
    record = server.registry.find(account.number)
    assert record is not None
    devices = {}
    for _ in range(companions):
        record.add_companion(b"")
    for number in range(companions + 1):
        recorder = devices[number] = Recorder()
        server.publish_bundle(account.address(number), KEYS)
        server.attach(account.address(number), recorder)
    await asyncio.sleep(0)
    return Person(account.address(0), devices)


def _message(chat: str, *targets: str, kind: str = "msg", **attrs: str) -> Node:
    """Make a message for some devices, each with a ciphertext that names it."""
    entries = [Node("to", {"jid": jid}, [Node("enc", {"type": kind}, jid.encode())]) for jid in targets]
    content = [Node("participants", {}, entries), Node("device-identity", {}, b"who"), Node("bot", {"biz_bot": "1"})]
    return Node("message", {"to": chat, "id": "M1", "type": "text"} | attrs, content)


def _exchange(server: Server) -> Exchange:
    """State to the type checker that the server is an Exchange."""
    return server


@pytest.mark.parametrize("lid", [False, True], ids=["number", "lid"])
async def test_a_message_is_addressed_as_its_recipient_was(server: Server, *, lid: bool) -> None:
    """Every device gets its own ciphertext, from a sender in the form in which it was named, the other form beside."""
    alice, bob = await _person(server), await _person(server, companions=2)
    targets = [bob.address.sibling(number) for number in (0, 1, 2)]
    chat, *jids = [bob.address.lid_user if lid else bob.address.pn_user] + [
        target.lid_jid if lid else target.pn_jid for target in targets
    ]

    await server.route(alice.address, _message(chat, *jids))

    for number, jid in enumerate(jids):
        (node,) = bob.devices[number].take("message")
        assert [enc.data for enc in node.children("enc")] == [jid.encode()]
        assert node.attrs["from"] == (alice.address.lid_jid if lid else alice.address.pn_jid)
        assert node.attrs["sender_pn" if lid else "sender_lid"] == (
            alice.address.pn_user if lid else alice.address.lid_user
        )
        assert (node.attrs["id"], node.attrs["type"], node.attrs["notify"]) == (
            "M1",
            "text",
            f"Person {alice.address.number[-4:]}",
        )
        assert node.attrs["addressing_mode"] == ("lid" if lid else "pn")
        assert [child.tag for child in node.children()] == ["bot", "enc"]
    assert not alice.devices[0].nodes


async def test_only_first_messages_carry_the_senders_identity(server: Server) -> None:
    """The device identity goes with a prekey message and with no other."""
    alice, bob = await _person(server), await _person(server)

    await server.route(alice.address, _message(bob.address.pn_user, bob.address.pn_jid, kind="pkmsg"))

    (node,) = bob.devices[0].take("message")
    assert [child.tag for child in node.children()] == ["bot", "enc", "device-identity"]


async def test_own_devices_are_told_the_chat(server: Server) -> None:
    """A copy for one's own device says whose chat it belongs to, in both forms; a peer message belongs to none."""
    alice, bob = await _person(server, companions=1), await _person(server)
    companion = alice.address.sibling(1)

    await server.route(companion, _message(bob.address.lid_user, alice.address.lid_jid, companion.lid_jid))
    (copy,) = alice.devices[0].take("message")
    assert copy.attrs["from"] == companion.lid_jid
    assert copy.attrs["recipient"] == bob.address.lid_user
    assert copy.attrs["peer_recipient_pn"] == bob.address.pn_user
    assert not alice.devices[1].nodes

    peer = Node("message", {"to": alice.address.pn_user, "id": "P", "category": "peer"}, [Node("enc", {}, b"x")])
    await server.route(companion, peer)
    (copy,) = alice.devices[0].take("message")
    assert copy.attrs["category"] == "peer"
    assert "recipient" not in copy.attrs


async def test_a_message_reaches_nobody_else(server: Server) -> None:
    """Ciphertexts for third parties, strangers and unknown devices vanish, as does a message to nobody."""
    alice, bob, eve = await _person(server), await _person(server), await _person(server)

    await server.route(
        alice.address,
        _message(
            bob.address.pn_user, eve.address.pn_jid, "6289999999999@s.whatsapp.net", bob.address.sibling(7).pn_jid
        ),
    )
    await server.route(alice.address, _message("6289999999999@s.whatsapp.net", bob.address.pn_jid))

    assert not eve.devices[0].nodes + bob.devices[0].nodes


async def test_a_message_that_is_sent_again_goes_to_one_device(server: Server) -> None:
    """An answer to a retry receipt has its ciphertext directly, for the device that asked."""
    alice, bob = await _person(server), await _person(server, companions=1)
    again = Node("message", {"to": bob.address.sibling(1).lid_jid, "id": "M1"}, [Node("enc", {"count": "1"}, b"x")])

    await server.route(alice.address, again)

    assert not bob.devices[0].nodes
    (node,) = bob.devices[1].take("message")
    assert node.children("enc")[0].attrs["count"] == "1"


async def test_a_blocked_sender_is_not_heard(server: Server) -> None:
    """Neither messages nor typing of a blocked account arrive."""
    alice, bob = await _person(server), await _person(server)
    record = server.registry.find(bob.address.number)
    assert record is not None
    record.blocked.add(alice.address.number)

    await server.route(alice.address, _message(bob.address.pn_user, bob.address.pn_jid))
    await server.route(alice.address, Node("chatstate", {"to": bob.address.pn_user}, [Node("composing")]))

    assert not bob.devices[0].nodes


async def test_a_delivery_receipt_goes_to_all_devices_of_the_sender(server: Server) -> None:
    """Every device of who wrote the message learns that it arrived; the form of address is the message's."""
    alice, bob = await _person(server, companions=1), await _person(server)

    await server.route(bob.address, Node("receipt", {"to": alice.address.sibling(1).lid_jid, "id": "M1"}))

    for device in alice.devices.values():
        (receipt,) = device.take("receipt")
        assert receipt.attrs["from"] == bob.address.lid_jid
        assert receipt.attrs["sender_pn"] == bob.address.pn_user
        assert (receipt.attrs["id"], "type" in receipt.attrs) == ("M1", False)


async def test_a_read_receipt_goes_to_ones_own_devices_as_well(server: Server) -> None:
    """What was read on one device is read on all; they are told in whose chat."""
    alice, bob = await _person(server), await _person(server, companions=1)
    items = [Node("list", {}, [Node("item", {"id": "M2"})])]

    await server.route(
        bob.address.sibling(1), Node("receipt", {"to": alice.address.pn_user, "id": "M1", "type": "read"}, items)
    )

    (receipt,) = alice.devices[0].take("receipt")
    assert (receipt.attrs["type"], receipt.content) == ("read", items)
    (own,) = bob.devices[0].take("receipt")
    assert own.attrs["recipient"] == alice.address.pn_user
    assert not bob.devices[1].nodes

    await server.route(bob.address, Node("receipt", {"to": alice.address.pn_user, "id": "M1", "type": "read-self"}))
    assert not alice.devices[0].nodes
    assert bob.devices[1].take("receipt")[0].attrs["type"] == "read-self"


@pytest.mark.parametrize("kind", ["retry", "sender"])
async def test_some_receipts_are_for_one_device(server: Server, kind: str) -> None:
    """A retry is asked of the device that encrypted, and no other hears of it."""
    alice, bob = await _person(server, companions=1), await _person(server)
    receipt = Node("receipt", {"to": alice.address.sibling(1).lid_jid, "id": "M1", "type": kind}, [Node("retry")])

    await server.route(bob.address, receipt)

    assert not alice.devices[0].nodes
    assert [node.attrs["type"] for node in alice.devices[1].take("receipt")] == [kind]


async def test_presence_is_for_subscribers(server: Server) -> None:
    """A subscriber sees the present state at once and changes as they come, until it has enough."""
    alice, bob = await _person(server), await _person(server)
    alices = alice.devices[0]
    await server.route(bob.address, Node("presence", {"type": "available", "name": "Bobby"}))
    assert not alices.nodes

    await server.route(alice.address, Node("presence", {"type": "subscribe", "to": bob.address.lid_user}))
    assert [node.attrs for node in alices.take("presence")] == [{"from": bob.address.lid_user}]
    await server.route(bob.address, Node("presence", {"type": "unavailable"}))
    (gone,) = alices.take("presence")
    assert gone.attrs["type"] == "unavailable"
    assert int(gone.attrs["last"]) > 0
    await server.route(alice.address, Node("presence", {"type": "unsubscribe", "to": bob.address.lid_user}))
    await server.route(bob.address, Node("presence", {"type": "available"}))
    assert not alices.nodes

    await server.route(bob.address, _message(alice.address.pn_user, alice.address.pn_jid))
    assert alices.take("message")[0].attrs["notify"] == "Bobby"


async def test_typing_is_shown_to_every_device(server: Server) -> None:
    """Typing comes from the account, in the form in which the chat was named."""
    alice, bob = await _person(server), await _person(server, companions=1)

    await server.route(alice.address, Node("chatstate", {"to": bob.address.lid_user}, [Node("composing")]))

    for device in bob.devices.values():
        (typing,) = device.take("chatstate")
        assert (typing.attrs["from"], typing.children()[0].tag) == (alice.address.lid_user, "composing")


async def test_a_detached_device_gets_its_stanzas_later(server: Server) -> None:
    """Messages wait, typing does not; another endpoint takes them over in order."""
    alice, bob = await _person(server), await _person(server)
    server.detach(bob.address, bob.devices[0])
    for number in range(3):
        message = _message(bob.address.pn_user, bob.address.pn_jid)
        message.attrs["id"] = f"M{number}"
        await server.route(alice.address, message)
    await server.route(alice.address, Node("chatstate", {"to": bob.address.pn_user}, [Node("composing")]))
    assert not bob.devices[0].nodes

    late = Recorder()
    server.attach(bob.address, late)
    await asyncio.sleep(0)

    assert [(node.tag, node.attrs["id"]) for node in late.nodes] == [("message", f"M{number}") for number in range(3)]


async def test_a_broken_device_harms_nobody(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """An exception in one endpoint is logged; the sender and the other devices do not feel it."""
    alice, bob = await _person(server), await _person(server, companions=1)
    bob.devices[0].broken = True

    await server.route(alice.address, _message(bob.address.pn_user, bob.address.pn_jid, bob.address.sibling(1).pn_jid))

    assert len(bob.devices[1].take("message")) == 1
    assert "out of order" in caplog.text


async def test_what_cannot_be_routed_is_refused(server: Server) -> None:
    """Groups, other stanzas, and stanzas without what they need."""
    alice = await _person(server)
    wrong = [
        _message("123-456@g.us", alice.address.pn_jid),
        Node("message", {"to": alice.address.pn_user, "id": "x"}),
        Node("message", {"to": alice.address.pn_user}, [Node("enc", {}, b"x")]),
        Node("receipt", {"to": alice.address.pn_user}),
        Node("iq", {"id": "x"}),
    ]
    for node in wrong:
        with pytest.raises(InvalidError):
            await server.route(alice.address, node)
    with pytest.raises(NotFoundError):
        await server.route(DeviceAddress("6289999999999", "1", 0), wrong[0])


async def test_accounts_share_one_namespace(server: Server) -> None:
    """Numbers are unique, checked, and made up when none is given."""
    first = server.create_account("6281200000001", "Ann")
    second = server.create_account("", "")

    assert (first.push_name, second.number) == ("Ann", "6281200000002")
    for user in (first.number, first.lid, first.address(3).pn_jid, first.address(3).lid_jid):
        assert server.account(user) == first
    assert server.account("123456@g.us") is None
    with pytest.raises(AlreadyExistsError):
        server.create_account(first.number, "")
    for number in ("+6281200000009", "0812000000", "12345", "1" * 16, "62812x00001"):
        with pytest.raises(InvalidError, match="7 to 15 digits"):
            server.create_account(number, "")
    with pytest.raises(InvalidError, match="100 characters"):
        server.create_account("", "x" * 101)


async def test_bundles_are_for_devices_with_keys(server: Server) -> None:
    """A device can be sent to once it has published; each of its one-time prekeys is taken once."""
    account = server.create_account("", "")
    device = account.address(0)
    assert server.devices(account.number) == []
    assert server.take_bundle(device) is None

    server.publish_bundle(device, KEYS)
    assert server.devices(account.lid) == [device]
    assert server.prekey_count(device) == 1
    bundles = [server.take_bundle(device), server.take_bundle(device)]
    assert [bundle is not None and bundle.one_time_prekey for bundle in bundles] == [OneTimePreKey(1, bytes(32)), None]
    with pytest.raises(InvalidError, match="32 bytes"):
        server.publish_bundle(device, PublishedKeys(1, bytes(33), KEYS.signed_prekey))
    with pytest.raises(NotFoundError):
        server.publish_bundle(account.address(5), KEYS)


async def test_app_state_patches_follow_each_other(server: Server) -> None:
    """A patch makes exactly the next version of a collection that there is."""
    number = server.create_account("", "").number

    def patch(version: int) -> bytes:
        return server_sync.SyncdPatch(version=server_sync.SyncdVersion(version=version)).SerializeToString()

    assert [server.append_app_state(number, "regular", patch(version)) for version in (1, 2)] == [1, 2]
    assert server.app_state_version(number, "regular") == 2
    for collection, wrong in (("regular", patch(2)), ("regular", b"\xff"), ("irregular", patch(1))):
        with pytest.raises(InvalidError):
            server.append_app_state(number, collection, wrong)


async def test_the_server_is_an_exchange(server: Server) -> None:
    """The type checker holds the server against the interface; this holds the docstring's media promise."""
    exchange = _exchange(server)
    stored = exchange.store_media(b"blob")

    assert exchange.load_media(stored.direct_path) == exchange.load_media(stored.url + "&hash=x") == b"blob"
    with pytest.raises(NotFoundError):
        exchange.load_media("/v/nothing")
