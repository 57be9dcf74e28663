"""A simulator without sockets: the real server and the people whom it plays, in this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gateway_worker.simulator.media import MediaStore
from gateway_worker.simulator.noise import ServerIdentity
from gateway_worker.simulator.players import Players
from gateway_worker.simulator.server import Server
from gateway_worker.simulator.settings import SimulatorSettings
from gateway_worker.waproto import e2e
from tests.support.simulated_companion import SimulatedCompanion
from wagateway.simulator.v1 import simulator_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway_worker.simulator.endpoints import Account, PlayersApi

PHONE = "6281200000100"
"""Number of the phone."""

CONTACT = "6281200000200"
"""Number of the contact that `World.contact` adds."""


def text(words: str) -> e2e.Message:
    """Build a text message."""
    return e2e.Message(conversation=words)


class World:
    """A simulator without sockets: its server, the people in it, and one phone."""

    def __init__(self, server: Server, players: Players, phone: Account) -> None:
        self.server = server
        self.players = players
        self.phone = phone

    async def contact(
        self, behaviour: pb.Behaviour.ValueType = pb.BEHAVIOUR_SILENT, *script: str, delay: float = 0.0
    ) -> Account:
        """Add the contact."""
        added = await self.players.add_contact(CONTACT, "Cat", behaviour, script, delay)
        account = self.server.account(added.number)
        assert account is not None
        return account

    async def companion(self) -> SimulatedCompanion:
        """Link a companion to the phone; it has taken the phone's greeting."""
        companion = SimulatedCompanion(self.server, self.phone)
        await companion.log_in()
        await companion.next_message()
        return companion


@contextlib.asynccontextmanager
async def simulated_world(directory: Path) -> AsyncIterator[World]:
    """Run a simulator without sockets, with one phone.

    Args:
        directory: A directory that nothing is written to.
    """
    settings = SimulatorSettings(file=directory / "unused")
    server = Server(settings, ServerIdentity.generate(), MediaStore(settings.media_budget, "auth"))
    players = Players(server)
    conforming: PlayersApi = players
    phone = server.create_account(PHONE, "Ada")
    await conforming.add_phone(phone)
    try:
        yield World(server, players, phone)
    finally:
        await players.aclose()
        await server.aclose()
