"""What a client meets: login, queries, and the end of its connection when it misbehaves."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from gateway_worker.simulator import connection
from gateway_worker.simulator import server as server_module
from gateway_worker.simulator import web as web_module
from gateway_worker.simulator.binary import Node, encode
from gateway_worker.simulator.faults import Faults
from tests.support.wa_client import ClientKeys, open_socket

if TYPE_CHECKING:
    from tests.unit.simulator.conftest import Net


def _only(node: Node | None, *path: str) -> Node:
    """Follow a path of tags."""
    for tag in path:
        assert node is not None
        node = node.child(tag)
    assert node is not None
    return node


# --- login ------------------------------------------------------------------------------------------------------------


async def test_a_stranger_is_refused(net: Net) -> None:
    """No such account, no such device, another key: each is a login failure with 401."""
    keys = await net.link(net.phone())
    strangers = [
        ClientKeys(user="6289999999999", device=1),
        ClientKeys(user=keys.user, device=2, noise=keys.noise),
        ClientKeys(user=keys.user, device=keys.device),
    ]

    for stranger in strangers:
        client = await net.open(stranger)
        assert (await client.receive()).attrs["reason"] == "401"
        await client.closed()


async def test_a_refused_login_says_why(net: Net) -> None:
    """The fault's reason reaches the client."""
    keys = await net.link(net.phone())
    net.server.faults.set(keys.user, Faults(refuse_logins=405))

    client = await net.open(keys)

    assert (await client.receive_tag("failure")).attrs["reason"] == "405"


async def test_the_second_login_takes_over(net: Net) -> None:
    """The first connection gets the stream error that says so, then its end; the second one stays."""
    first = await net.client()
    second = await net.open(first.keys)
    await second.receive_tag("success")

    conflict = (await first.receive_tag("stream:error")).child("conflict")
    assert conflict is not None
    assert conflict.attrs == {"type": "replaced"}
    await first.closed()
    await second.wake()
    assert (await second.iq("w:p", "get")).attrs["type"] == "result"


async def test_stanzas_wait_until_the_client_asks_for_them(net: Net) -> None:
    """A passive login gets nothing until it is active; then the queue, between preview and end."""
    client = await net.client()
    account = net.server.account(client.keys.user)
    assert account is not None
    await client.socket.close()
    contact = net.server.create_account("", "").address(0)
    for number in range(3):
        message = Node("message", {"to": account.address(1).pn_jid, "id": f"m{number}", "type": "text"}, [
            Node("enc", {"v": "2", "type": "msg"}, b"secret")
        ])  # fmt: skip
        await net.server.route(contact, message)

    client = await net.open(client.keys)
    await client.receive_tag("success")
    await client.iq("passive", "set", Node("active"))

    preview = _only(await client.receive_tag("ib"), "offline_preview")
    arrived = [await client.receive_tag("message") for _ in range(3)]
    done = _only(await client.receive_tag("ib"), "offline")
    assert (preview.attrs["count"], preview.attrs["message"], done.attrs["count"]) == ("3", "3", "3")
    assert [(node.attrs["id"], node.attrs["offline"]) for node in arrived] == [("m0", "1"), ("m1", "1"), ("m2", "1")]


async def test_what_was_not_acknowledged_comes_again(net: Net) -> None:
    """A stanza is forgotten when the client says that it has it, and not before."""
    client = await net.client()
    account = net.server.account(client.keys.user)
    assert account is not None
    contact = net.server.create_account("", "").address(0)
    for number in range(2):
        message = Node("message", {"to": account.address(1).pn_jid, "id": f"m{number}", "type": "text"}, [
            Node("enc", {"v": "2", "type": "msg"}, b"secret")
        ])  # fmt: skip
        await net.server.route(contact, message)
        await client.receive_tag("message")
    await client.send(Node("receipt", {"id": "m0", "to": contact.pn_jid}))
    assert (await client.receive_tag("ack")).attrs == {"class": "receipt", "id": "m0", "from": contact.pn_jid}
    await client.socket.close()

    client = await net.open(client.keys)
    await client.receive_tag("success")
    await client.iq("passive", "set", Node("active"))

    assert (await client.receive_tag("message")).attrs["id"] == "m1"
    assert _only(await client.receive(lambda node: node.child("offline") is not None), "offline").attrs["count"] == "1"


# --- clients that misbehave -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [b"", b"\x00", bytes(40), b"plain text that nobody encrypted"],
    ids=["empty", "short", "zeros", "text"],
)
async def test_a_frame_that_does_not_decrypt_ends_the_connection(
    net: Net, frame: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the connection ends, the log says whose and why, and the neighbour notices nothing."""
    bad, good = await net.client(), await net.client()

    await bad.send_frame(frame)

    await bad.closed()
    assert (await good.iq("w:p", "get")).attrs["type"] == "result"
    assert net.server.stats.bad_clients == 1
    assert f"{bad.keys.user}:1@s.whatsapp.net" in caplog.text
    assert "does not decrypt" in caplog.text


@pytest.mark.parametrize(
    "payload",
    [
        b"\x00",
        b"\x02not zlib",
        b"\x00\xf8\x00",
        encode(Node("iq", {"xmlns": "w:p"})),
        encode(Node("message", {"to": "1@lid", "id": "x"})),
        encode(Node("message", {"to": "1@lid"}, [Node("enc", {}, b"x")])),
        encode(Node("receipt", {"to": "1@lid"})),
        encode(Node("presence", {"type": "asleep"})),
    ],
    ids=["flags only", "no zlib", "no tag", "iq", "message", "message id", "receipt", "presence"],
)
async def test_a_stanza_that_makes_no_sense_ends_the_connection(net: Net, payload: bytes) -> None:
    """Well encrypted nonsense is nonsense still."""
    bad, good = await net.client(), await net.client()

    await bad.send_payload(payload)

    await bad.closed()
    assert (await good.iq("w:p", "get")).attrs["type"] == "result"
    assert net.server.stats.bad_clients == 1


async def test_a_client_that_has_not_logged_in_sends_no_messages(net: Net) -> None:
    """Before it is linked a client may ping and wait, no more."""
    client = await net.open(ClientKeys())
    assert (await client.iq("w:p", "get")).attrs["type"] == "result"

    await client.send(Node("message", {"to": "1@lid", "id": "x"}, [Node("enc", {}, b"x")]))

    await client.closed()


async def test_a_stream_that_is_not_whatsapps_is_ended(net: Net) -> None:
    """Text, and bytes of another protocol, are a bad client each."""
    for data in ("text", b"GET / HTTP/1.1\r\n\r\n", b"WA\x06\x03\x00\x00\x05hello"):
        async with open_socket(net.file) as socket:
            await socket.send(data)
            await asyncio.wait_for(socket.wait_closed(), 5)
    assert net.server.stats.bad_clients == 3


async def test_silence_during_the_handshake_ends_the_connection(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that never says who it is does not stay."""
    monkeypatch.setattr(connection, "HANDSHAKE_TIMEOUT", 0.2)
    async with open_socket(net.file) as socket:
        await asyncio.wait_for(socket.wait_closed(), 5)


async def test_a_client_that_does_not_read_is_let_go(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody reads does not pile up without end; the stanzas wait in the mailbox, and the neighbour is served."""
    monkeypatch.setattr(web_module, "_MAX_UNSENT", 1 << 20)
    deaf, good = await net.client(), await net.client()
    account = net.server.account(deaf.keys.user)
    assert account is not None
    deaf.socket.transport.pause_reading()
    contact = net.server.create_account("", "").address(0)
    async with asyncio.timeout(20):
        for number in itertools.count():
            message = Node("message", {"to": account.address(1).pn_jid, "id": f"m{number}"}, [
                Node("enc", {"v": "2", "type": "msg"}, bytes(1 << 18))
            ])  # fmt: skip
            await net.server.route(contact, message)
            await asyncio.sleep(0)
            if not any(link.device is not None and link.device.account.account is account
                       for link in net.server.connections):  # fmt: skip
                break

    record = net.server.registry.find(account.number)
    assert record is not None
    assert len(record.devices[1].mailbox) > 4
    assert (await good.iq("w:p", "get")).attrs["type"] == "result"


@pytest.fixture
def quick_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for silent connections all the time."""
    monkeypatch.setattr(server_module, "_SWEEP", 0.1)


@pytest.mark.usefixtures("quick_sweep")
async def test_silent_connections_are_closed(net: Net) -> None:
    """A connection from which nothing was heard for too long is cut."""
    client = await net.client()
    (link,) = [link for link in net.server.connections if link.device is not None]
    link.last_heard -= 1000

    await client.closed()
