"""Queries about profiles and settings: privacy, block list, picture, the text below the name."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.query import BAD_REQUEST, NOT_ACCEPTABLE, NOT_FOUND, QueryError, require

if TYPE_CHECKING:
    from gateway_worker.simulator.media import MediaStore
    from gateway_worker.simulator.registry import AccountRecord, Device, Registry

_PRIVACY: Final = {
    "groupadd": "all",
    "last": "all",
    "status": "all",
    "profile": "all",
    "readreceipts": "all",
    "online": "all",
    "calladd": "all",
    "messages": "all",
    "defense": "off",
    "stickers": "all",
}
"""The settings that there are, and what they are unless set."""

_MAX_ABOUT: Final = 500


class ProfileQueries:
    """Answers the queries about accounts' profiles and settings.

    Args:
        registry: Where the accounts are.
        media: Where pictures are stored.
    """

    def __init__(self, registry: Registry, media: MediaStore) -> None:
        self._registry = registry
        self._media = media

    async def privacy(self, device: Device, iq: Node) -> list[Node]:
        """Answer ``privacy``: return the settings, change some, or take the tokens that clients issue to contacts."""
        settings = device.account.privacy
        if iq.attrs.get("type") == "set":
            if iq.child("tokens") is not None:
                return []
            for category in require(iq.child("privacy")).children("category"):
                name, value = category.attrs.get("name", ""), category.attrs.get("value", "")
                if name not in _PRIVACY or not value:
                    raise QueryError(NOT_ACCEPTABLE)
                settings[name] = value
        categories = [Node("category", {"name": name, "value": value}) for name, value in (_PRIVACY | settings).items()]
        return [Node("privacy", {}, categories)]

    async def blocklist(self, device: Device, iq: Node) -> list[Node]:
        """Answer ``blocklist``: block or unblock an account, and return the list."""
        blocked = device.account.blocked
        if iq.attrs.get("type") == "set":
            for item in iq.children("item"):
                record = self._registry.find(item.attrs.get("jid", ""))
                if record is None:
                    raise QueryError(NOT_FOUND)
                if item.attrs.get("action") == "block":
                    blocked.add(record.account.number)
                elif item.attrs.get("action") == "unblock":
                    blocked.discard(record.account.number)
                else:
                    raise QueryError(BAD_REQUEST)
        digest = hashlib.sha256(",".join(sorted(blocked)).encode()).digest()
        records = (self._registry.find(number) for number in sorted(blocked))
        items = [Node("item", {"jid": record.account.address(0).lid_user}) for record in records if record is not None]
        return [Node("list", {"dhash": base64.b64encode(digest[:6]).decode()}, items)]

    async def picture(self, device: Device, iq: Node) -> list[Node]:
        """Answer ``w:profile:picture``: return where a picture is, or set or remove one's own."""
        if iq.attrs.get("type") == "set":
            return self._set_picture(device.account, iq)
        query = require(iq.child("picture"))
        record = self._registry.find(iq.attrs.get("target", "") or device.address.pn_user)
        if record is None or not record.picture:
            raise QueryError(NOT_FOUND)
        if query.attrs.get("id") == record.picture_id:
            return [Node("picture", {"status": "304"})]
        attrs = {"id": record.picture_id, "type": query.attrs.get("type", "image")}
        return [Node("picture", attrs | {"url": record.picture_url, "direct_path": record.picture})]

    def _set_picture(self, record: AccountRecord, iq: Node) -> list[Node]:
        picture = iq.child("picture")
        if picture is None or not picture.data:
            record.picture = record.picture_url = record.picture_id = ""
            return []
        try:
            stored = self._media.store(picture.data)
        except InvalidError:
            raise QueryError(NOT_ACCEPTABLE) from None
        record.picture, record.picture_url = stored.direct_path, stored.url
        record.picture_id = str(int.from_bytes(hashlib.sha256(picture.data).digest()[:4], "big"))
        return [Node("picture", {"id": record.picture_id})]

    async def about(self, device: Device, iq: Node) -> list[Node]:
        """Answer ``status``: set the text below one's name."""
        if iq.attrs.get("type") == "set":
            device.account.about = require(iq.child("status")).data.decode(errors="replace")[:_MAX_ABOUT]
        return []
