"""Finds the phone number of a LID in a client's own table, where an event did not tell it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from gateway_worker.engine.binding import GoLibrary
from gateway_worker.engine.client import Phase
from gateway_worker.engine.convert import jids
from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.engine.host import Host
from gateway_worker.waproto import neonize

_ASK_AGAIN: Final = 60.0
_REMEMBERED: Final = 5_000


class AddressFinder:
    """Asks clients for phone numbers.

    Args:
        library: The Go library.
        host: The clients.
        book: Learns what is found.
    """

    def __init__(self, library: GoLibrary, host: Host, book: AddressBook) -> None:
        self._library = library
        self._host = host
        self._book = book
        self._unknown_until: dict[str, float] = {}

    async def find(self, handle: str, lids: Iterable[str]) -> bool:
        """Look LIDs up; True when the book learned something.

        A LID that the client does not know is asked for again after a minute at the earliest: a busy group of hidden
        members would cost a database query an event.

        Args:
            handle: The session whose table is asked; nothing is found when its client is not live.
            lids: Digits of the LIDs.
        """
        client = self._host.find(handle)
        if client is None or client.phase is not Phase.RUNNING:
            return False
        found = False
        for lid in lids:
            if self._unknown_until.get(lid, 0.0) > time.monotonic():
                continue
            jid = jids.parse(f"{lid}@{jids.LID}").SerializeToString()
            answer = neonize.GetJIDFromStoreReturnFunction.FromString(
                await self._host.call(self._library.pn_from_lid, client, jid)
            )
            if answer.Jid.Server == jids.PHONE and answer.Jid.User:
                self._book.learn(lid, answer.Jid.User)
                found = True
            else:
                self._note_unknown(lid)
        return found

    def _note_unknown(self, lid: str) -> None:
        if len(self._unknown_until) >= _REMEMBERED:
            self._unknown_until.clear()
        self._unknown_until[lid] = time.monotonic() + _ASK_AGAIN
