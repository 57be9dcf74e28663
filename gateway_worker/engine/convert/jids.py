"""WhatsApp addresses: neonize's ``JID`` message and its text form.

The text is ``user@server``, with ``:device`` after the user for a companion device. Servers: ``s.whatsapp.net`` for
phone numbers, ``lid`` for hidden ids, ``g.us`` for groups, ``newsletter``, ``broadcast``.
"""

from __future__ import annotations

import re
from typing import Final

from gateway_worker.waproto import neonize

PHONE: Final = "s.whatsapp.net"
LID: Final = "lid"
GROUP: Final = "g.us"

_JID: Final = re.compile(r"(?P<user>[^@:.\s]+)(?:\.(?P<agent>\d{1,3}))?(?::(?P<device>\d{1,5}))?@(?P<server>[a-z.]+)")


class InvalidJidError(ValueError):
    """The text is not a JID."""


def parse(text: str) -> neonize.JID:
    """Parse a JID.

    Raises:
        InvalidJidError: It is none.
    """
    match = _JID.fullmatch(text)
    if match is None:
        raise InvalidJidError("not a JID")
    return neonize.JID(
        User=match["user"],
        RawAgent=int(match["agent"] or 0),
        Device=int(match["device"] or 0),
        Integrator=0,
        Server=match["server"],
        IsEmpty=False,
    )


def device_text(jid: neonize.JID) -> str:
    """Text of a JID with its device; empty for the empty JID."""
    if not jid.Server:
        return ""
    if not jid.User:
        return jid.Server
    agent = f".{jid.RawAgent}" if jid.RawAgent else ""
    device = f":{jid.Device}" if jid.Device or agent else ""
    return f"{jid.User}{agent}{device}@{jid.Server}"


def user_text(jid: neonize.JID) -> str:
    """Text of the user, group or list that a JID belongs to, without the device; empty for the empty JID."""
    if not jid.Server:
        return ""
    return f"{jid.User}@{jid.Server}" if jid.User else jid.Server


def without_device(text: str) -> str:
    """Text of a JID without its device; anything else is returned as it is."""
    match = _JID.fullmatch(text)
    return f"{match['user']}@{match['server']}" if match else text
