"""What a logged-in client asks, and what it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.signal.keys import KeyPair
from gateway_worker.waproto import server_sync

if TYPE_CHECKING:
    from tests.support.wa_client import WaClient
    from tests.unit.simulator.conftest import Net


def _error(node: Node) -> str:
    error = node.child("error")
    return error.attrs["code"] if node.attrs.get("type") == "error" and error is not None else ""


def _only(node: Node | None, *path: str) -> Node:
    """Follow a path of tags."""
    for tag in path:
        assert node is not None
        node = node.child(tag)
    assert node is not None
    return node


async def test_each_one_time_prekey_is_given_once(net: Net) -> None:
    """Bundles carry the keys that the device has published, in order, until there are none."""
    client, other = await net.client(), await net.client()
    jid = f"{other.keys.user}:1@s.whatsapp.net"
    ids = []
    for _ in range(21):
        answer = await client.iq("encrypt", "get", Node("key", {}, [Node("user", {"jid": jid})]))
        user = _only(answer, "list", "user")
        assert user.attrs == {"jid": jid}
        assert _only(user, "identity").data == other.keys.identity.public
        assert _only(user, "skey", "value").data == other.keys.signed_prekey.public
        key = user.child("key")
        ids.append(int.from_bytes(_only(key, "id").data, "big") if key is not None else None)

    assert ids == [*range(1, 21), None]
    assert _only(await other.iq("encrypt", "get", Node("count")), "count").attrs == {"value": "0"}
    notification = await other.receive_tag("notification")
    assert (notification.attrs["type"], _only(notification, "count").attrs["value"]) == ("encrypt", "4")
    assert notification.attrs["from"] == "s.whatsapp.net"


async def test_keys_that_cannot_be_keys_are_not_published(net: Net) -> None:
    """A wrong size is an error to the query, and what was published stays."""
    client = await net.client()
    nodes = client.keys.key_nodes(1)
    nodes[2] = Node("identity", {}, bytes(31))

    assert _error(await client.iq("encrypt", "set", *nodes)) == "406"
    assert _error(await client.iq("encrypt", "set", *client.keys.key_nodes(1)[:3])) == "400"
    assert _only(await client.iq("encrypt", "get", Node("count")), "count").attrs == {"value": "20"}
    rotated = client.keys.key_nodes(0)[4]
    rotated.children()[1].content = KeyPair.generate().public
    assert _error(await client.iq("encrypt", "set", Node("rotate", {}, [rotated]))) == ""


async def test_bundles_of_unknown_devices_are_errors(net: Net) -> None:
    """The answer has an entry for each user that was asked about."""
    client = await net.client()
    unknown = f"{client.keys.user}:9@s.whatsapp.net"

    answer = await client.iq("encrypt", "get", Node("key", {}, [Node("user", {"jid": unknown}), Node("user")]))

    users = _only(answer, "list").children("user")
    assert [_only(user, "error").attrs["code"] for user in users] == ["404", "404"]


async def _usync(client: WaClient, user: Node, *protocols: Node) -> Node:
    query = Node("usync", {"sid": "1", "mode": "query"}, [
        Node("query", {}, list(protocols)), Node("list", {}, [user]),
    ])  # fmt: skip
    return _only(await client.iq("usync", "get", query), "usync", "list", "user")


async def test_users_are_found_by_number_and_by_lid(net: Net) -> None:
    """The answer names the user as the question did, and the device list is the same in both forms."""
    client, other = await net.client(), await net.client()
    record = net.server.registry.find(other.keys.user)
    assert record is not None
    address = record.account.address(0)

    for jid in (address.pn_user, address.lid_user):
        user = await _usync(client, Node("user", {"jid": jid}), Node("devices", {"version": "2"}), Node("lid"))
        assert user.attrs["jid"] == jid
        devices = _only(user, "devices", "device-list").children("device")
        assert [device.attrs["id"] for device in devices] == ["1"]
        assert _only(user, "lid").attrs["val"] == address.lid_user


@pytest.mark.parametrize("query", ["+{}", "{}", "{}@c.us"])
async def test_contacts_are_looked_up_by_their_number(net: Net, query: str) -> None:
    """A number is looked up in each of the forms that clients write it in."""
    client = await net.client()
    number = client.keys.user
    contact = Node("contact", {}, query.format(number).encode())

    by_number = await _usync(client, Node("user", {}, [contact]), Node("contact"))
    by_lid = await _usync(client, Node("user", {}, [contact]), Node("contact", {"addressing_mode": "lid"}))
    nobody = Node("contact", {}, query.format("6289999999999").encode())
    missing = await _usync(client, Node("user", {}, [nobody]), Node("contact"), Node("devices"))

    assert by_number.attrs == {"jid": f"{number}@s.whatsapp.net"}
    assert (_only(by_number, "contact").attrs["type"], _only(by_number, "contact").data) == ("in", contact.data)
    assert by_lid.attrs["jid"].endswith("@lid")
    assert by_lid.attrs["pn_jid"] == f"{number}@s.whatsapp.net"
    assert _only(missing, "contact").attrs["type"] == "out"
    assert missing.child("devices") is None


async def test_who_asked_for_a_device_list_hears_of_its_changes(net: Net) -> None:
    """A new companion is announced under both addresses, so that caches of either form are dropped."""
    client = await net.client()
    record = net.phone()
    await net.link(record)
    address = record.account.address(0)
    await _usync(client, Node("user", {"jid": address.lid_user}), Node("devices"))

    await net.link(record)

    told = [await client.receive_tag("notification") for _ in range(2)]
    assert {node.attrs["type"] for node in told} == {"devices"}
    assert {node.attrs["from"] for node in told} == {address.lid_user, address.pn_user}


async def test_app_state_is_versioned(net: Net) -> None:
    """Patches get their versions from the server, the other companions hear of them, and a stale one conflicts."""
    record = net.phone()
    first, second = await net.client(record), await net.client(record)

    async def sync(client: WaClient, version: int, patch: bytes | None) -> Node:
        content = [Node("patch", {}, patch)] if patch is not None else []
        collection = Node("collection", {"name": "regular", "version": str(version)}, content)
        return _only(await client.iq("w:sync:app:state", "set", Node("sync", {}, [collection])), "sync", "collection")

    patch = server_sync.SyncdPatch(snapshotMAC=b"opaque").SerializeToString()
    assert (await sync(first, 0, patch)).attrs == {"name": "regular", "version": "1"}
    told = await second.receive_tag("notification")
    assert (told.attrs["type"], _only(told, "collection").attrs) == ("server_sync", {"name": "regular", "version": "1"})

    read = await sync(second, 0, None)
    stored = server_sync.SyncdPatch.FromString(_only(read, "patches", "patch").data)
    assert (stored.version.version, stored.snapshotMAC, read.attrs["has_more_patches"]) == (1, b"opaque", "false")

    stale = await sync(second, 0, patch)
    assert (stale.attrs["type"], _only(stale, "error").attrs["code"]) == ("error", "409")
    assert _only(stale, "patches", "patch").data
    assert _only(await sync(second, 1, b"\xff"), "error").attrs["code"] == "406"
    empty = await second.iq("w:sync:app:state", "set", Node("sync", {}, [Node("collection", {"name": "none"})]))
    assert _only(empty, "sync", "collection", "error").attrs["code"] == "404"


async def test_profiles_and_settings(net: Net) -> None:
    """Privacy, block list, picture and about are kept, and wrong values are refused."""
    client, other = await net.client(), await net.client()
    jid = f"{other.keys.user}@s.whatsapp.net"

    privacy = Node("privacy", {}, [Node("category", {"name": "readreceipts", "value": "none"})])
    await client.iq("privacy", "set", privacy)
    categories = _only(await client.iq("privacy", "get", Node("privacy")), "privacy").children("category")
    settings = {category.attrs["name"]: category.attrs["value"] for category in categories}
    assert (settings["readreceipts"], settings["last"]) == ("none", "all")
    wrong = Node("privacy", {}, [Node("category", {"name": "shoes", "value": "none"})])
    assert _error(await client.iq("privacy", "set", wrong)) == "406"

    blocked = await client.iq("blocklist", "set", Node("item", {"jid": jid, "action": "block"}))
    assert len(_only(blocked, "list").children("item")) == 1
    unblocked = await client.iq("blocklist", "set", Node("item", {"jid": jid, "action": "unblock"}))
    assert not _only(unblocked, "list").children("item")
    assert _error(await client.iq("blocklist", "set", Node("item", {"jid": "1@lid", "action": "block"}))) == "404"

    ask = Node("picture", {"query": "url", "type": "image"})
    assert _error(await client.iq("w:profile:picture", "get", ask, target=jid)) == "404"
    await other.iq("w:profile:picture", "set", Node("picture", {"type": "image"}, b"a picture"))
    picture = _only(await client.iq("w:profile:picture", "get", ask, target=jid), "picture")
    assert net.server.load_media(picture.attrs["direct_path"]) == b"a picture"
    known = Node("picture", {"id": picture.attrs["id"]})
    assert _only(await client.iq("w:profile:picture", "get", known, target=jid), "picture").attrs == {"status": "304"}

    await other.iq("status", "set", Node("status", {}, b"at sea"))
    user = await _usync(client, Node("user", {"jid": jid}), Node("status"), Node("picture"))
    assert (_only(user, "status").data, _only(user, "picture").attrs["id"]) == (b"at sea", picture.attrs["id"])


async def test_other_queries_have_answers_too(net: Net) -> None:
    """Media hosts are named, there are no groups, and what is about nothing here gets an empty result."""
    client = await net.client()

    media = _only(await client.iq("w:m", "set", Node("media_conn")), "media_conn")
    assert media.attrs["auth"]
    assert _only(media, "host").attrs["hostname"] == "mmg.whatsapp.net"
    groups = _only(await client.iq("w:g2", "get", Node("participating")), "groups")
    assert not groups.children()
    assert _error(await client.iq("w:g2", "set", Node("create"))) == "404"
    for namespace in ("abt", "w:stats", "something:new"):
        assert (await client.iq(namespace, "get", Node("anything"))).attrs["type"] == "result"
    assert _error(await client.iq("usync", "get")) == "400"
    assert _error(await client.iq("md", "set", Node("remove-companion-device", {"jid": "1:1@lid"}))) == "404"
