"""App state as the server sees it: numbered, opaque patches in a few collections per account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError as ProtobufDecodeError

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import PN_SERVER
from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.query import CONFLICT, NOT_ACCEPTABLE, NOT_FOUND, error_node, require
from gateway_worker.simulator.registry import COLLECTIONS
from gateway_worker.waproto import server_sync

if TYPE_CHECKING:
    from gateway_worker.simulator.post import PostOffice
    from gateway_worker.simulator.registry import AccountRecord, Device

_AT_ONCE: Final = 100
"""Patches in one answer; a client asks again for the rest."""


def version(record: AccountRecord, collection: str) -> int:
    """Return a collection's version.

    Raises:
        InvalidError: No such collection.
    """
    if collection not in record.patches:
        raise InvalidError(f"an app-state collection is one of {', '.join(COLLECTIONS)}, not {collection!r}")
    return len(record.patches[collection])


def append(record: AccountRecord, collection: str, patch: bytes) -> int:
    """Append a serialized patch that says which version it makes.

    Returns:
        The new version.

    Raises:
        InvalidError: No such collection, no patch, or a patch that makes another version than the next.
    """
    following = version(record, collection) + 1
    try:
        made = server_sync.SyncdPatch.FromString(patch).version.version
    except ProtobufDecodeError:
        raise InvalidError("the patch is no SyncdPatch") from None
    if made != following:
        raise InvalidError(f"the next patch of {collection} makes version {following}, not {made}")
    record.patches[collection].append(patch)
    return following


class AppStateQueries:
    """Answers ``w:sync:app:state`` queries and tells devices of new versions.

    Args:
        post: Hands notifications over.
    """

    def __init__(self, post: PostOffice) -> None:
        self._post = post

    async def answer(self, device: Device, iq: Node) -> list[Node]:
        """Answer for each collection: take a new patch, or return the patches since a version."""
        collections = require(iq.child("sync")).children("collection")
        return [Node("sync", {}, [await self._collection(device, collection) for collection in collections])]

    async def _collection(self, device: Device, query: Node) -> Node:
        name = query.attrs.get("name", "")
        record = device.account
        if name not in record.patches:
            return Node("collection", {"name": name, "type": "error"}, [error_node(NOT_FOUND)])
        given = query.attrs.get("version", "0")
        since = int(given) if given.isdecimal() else 0
        patch = query.child("patch")
        if patch is None:
            return self._since(record, name, since)
        if since != version(record, name):
            answer = self._since(record, name, since)
            answer.attrs["type"] = "error"
            answer.content = [error_node(CONFLICT), *answer.children()]
            return answer
        try:
            parsed = server_sync.SyncdPatch.FromString(patch.data)
        except ProtobufDecodeError:
            return Node("collection", {"name": name, "type": "error"}, [error_node(NOT_ACCEPTABLE)])
        # A client leaves the number to the server, and the next reader needs it.
        parsed.version.version = since + 1
        append(record, name, parsed.SerializeToString())
        await self.announce(record, name, but=device)
        return Node("collection", {"name": name, "version": str(since + 1)})

    @staticmethod
    def _since(record: AccountRecord, name: str, since: int) -> Node:
        patches = record.patches[name][since : since + _AT_ONCE]
        more = since + len(patches) < len(record.patches[name])
        attrs = {"name": name, "version": str(len(record.patches[name])), "has_more_patches": str(more).lower()}
        content = [Node("patches", {}, [Node("patch", {}, patch) for patch in patches])] if patches else []
        return Node("collection", attrs, content)

    async def announce(self, record: AccountRecord, name: str, *, but: Device | None = None) -> None:
        """Tell an account's companions of a collection's new version, all but the one that made it."""
        content = [Node("collection", {"name": name, "version": str(len(record.patches[name]))})]
        for device in record.companions:
            if device is not but and device.linked:
                await self._post.notify(device, "server_sync", PN_SERVER, content)
