"""Linking by QR code, and everything that can go wrong with it."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import Account, DeviceAddress
from gateway_worker.simulator.errors import InvalidError, NotFoundError, PreconditionError
from tests.support.wa_client import ClientKeys, open_client

if TYPE_CHECKING:
    from tests.unit.simulator.conftest import Net


async def test_a_scanned_client_becomes_a_device(net: Net) -> None:
    """The client is told its addresses by number and LID, and can log in with the same keys from then on."""
    phone = net.phone("6281234567890")
    linked: list[tuple[Account, DeviceAddress]] = []

    async def on_linked(account: Account, device: DeviceAddress) -> None:
        linked.append((account, device))

    net.server.on_linked(on_linked)
    keys = await net.link(phone)
    client = await net.open(keys)
    success = await client.receive_tag("success")

    assert (keys.user, keys.device) == ("6281234567890", 1)
    assert success.attrs["lid"] == f"{phone.account.lid}:1@lid"
    assert linked == [(phone.account, phone.account.address(1))]
    assert len(phone.devices[1].keys) == 20


async def test_each_companion_gets_a_number_of_its_own(net: Net) -> None:
    """Numbers are not used again while there are new ones, and five companions are one too many."""
    phone = net.phone()
    numbers = [(await net.link(phone)).device for _ in range(2)]
    await net.server.unlink(phone, phone.devices[2])
    numbers += [(await net.link(phone)).device for _ in range(3)]

    assert numbers == [1, 2, 3, 4, 5]
    fifth = await net.open(ClientKeys())
    with pytest.raises(PreconditionError, match="4 linked devices"):
        await net.server.link(phone, await fifth.code())


async def test_a_code_is_valid_for_its_time(net: Net) -> None:
    """The first ref expires while the second is still good."""
    keys = ClientKeys()
    client = await net.open(keys)
    offer = await client.receive(lambda node: node.child("pair-device") is not None)
    pair_device = offer.child("pair-device")
    assert pair_device is not None
    first, second = (keys.code(ref.data) for ref in pair_device.children("ref"))
    await asyncio.sleep(0.6)

    with pytest.raises(PreconditionError, match="a newer one"):
        await net.server.link(net.phone(), first)
    scan = asyncio.ensure_future(net.server.link(net.phone(), second))
    await client.confirm()
    with pytest.raises(PreconditionError, match="did not log in within 1 s"):
        await scan


async def test_a_code_is_scanned_once(net: Net) -> None:
    """A second scan is refused, and so is one after the client has gone."""
    keys = ClientKeys()
    async with open_client(net.file, keys) as client:
        code = await client.code()
        scan = asyncio.ensure_future(net.server.link(net.phone(), code))
        await client.receive(lambda node: node.child("pair-success") is not None)
        with pytest.raises(PreconditionError, match="scanned already"):
            await net.server.link(net.phone(), code)
    with pytest.raises(PreconditionError, match="went away"):
        await scan
    with pytest.raises(PreconditionError, match="has gone"):
        await net.server.link(net.phone(), code)


async def test_codes_that_nobody_offers(net: Net) -> None:
    """A code must be one, be offered, and carry the keys of the client that offers it."""
    phone, keys = net.phone(), ClientKeys()
    client = await net.open(keys)
    code = await client.code()
    key = base64.b64encode(keys.noise.public).decode()

    for wrong in ("", "hello", "ref,a,b,c", f"ref,{key},{key}", f"ref,{key},{key},{base64.b64encode(b'x').decode()}"):
        with pytest.raises(InvalidError, match="code"):
            await net.server.link(phone, wrong)
    with pytest.raises(NotFoundError, match="no client offers"):
        await net.server.link(phone, ClientKeys().code(b"2@nobody"))
    ref = code.partition("#")[2].partition(",")[0]
    with pytest.raises(PreconditionError, match="not those of the client"):
        await net.server.link(phone, ClientKeys().code(ref.encode()))
    assert not phone.companions


@pytest.mark.parametrize("kind", ["error", "unsigned", "empty"])
async def test_a_client_that_does_not_confirm_is_not_linked(net: Net, kind: str) -> None:
    """A refusal, a confirmation without content and one that another key signed all leave no device behind."""
    phone, keys = net.phone(), ClientKeys()
    client = await net.open(keys)
    scan = asyncio.ensure_future(net.server.link(phone, await client.code()))
    success = await client.receive(lambda node: node.child("pair-success") is not None)
    content = {
        "error": [Node("error", {"code": "401", "text": "hmac-mismatch"})],
        "unsigned": [Node("pair-device-sign", {}, [Node("device-identity", {}, b"\x22\x40" + bytes(64))])],
        "empty": [],
    }[kind]
    answer = Node("iq", {"type": "error" if kind == "error" else "result", "id": success.attrs["id"]}, content)
    await client.send(answer)

    with pytest.raises(PreconditionError, match="hmac-mismatch" if kind == "error" else "not signed"):
        await scan
    assert not phone.companions


async def test_a_registration_with_a_bad_signature_ends_the_connection(net: Net) -> None:
    """Keys that do not belong together are no registration."""
    keys = ClientKeys()
    payload = keys.payload()
    payload.devicePairingData.eSkeySig = bytes(64)
    keys.payload = lambda: payload  # type: ignore[method-assign]
    client = await net.open(keys)

    await client.closed()
    assert net.server.stats.bad_clients == 1
