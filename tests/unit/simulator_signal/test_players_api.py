"""What the control API may ask of the players, and what they refuse."""

from __future__ import annotations

import asyncio

import pytest

from gateway_worker.simulator.endpoints import Utterance
from gateway_worker.simulator.errors import AlreadyExistsError, InvalidError, NotFoundError
from tests.support.simulated_world import CONTACT, PHONE, World, text
from wagateway.simulator.v1 import simulator_pb2 as pb


async def test_inboxes_are_watched_from_the_moment_of_the_call(world: World) -> None:
    """One contact or all; what came before is not seen, and closing ends the watch."""
    contact = await world.contact()
    await world.players.add_contact("6281200000201", "Dog", pb.BEHAVIOUR_SILENT, (), 0)
    companion = await world.companion()
    await companion.send(contact, text("before"), "M0")
    await companion.next("receipt", "")
    one, every = world.players.watch(CONTACT), world.players.watch("")
    dog = world.server.account("6281200000201")
    assert dog is not None
    await companion.send(dog, text("woof"), "M1")
    await companion.send(contact, text("miaow"), "M2")
    async with asyncio.timeout(10):
        assert (await anext(one)).text == "miaow"
        assert [(await anext(every)).text for _ in range(2)] == ["woof", "miaow"]
        await world.players.aclose()
        assert [message async for message in one] == []
        assert [message async for message in one] == []


@pytest.mark.parametrize(
    ("behaviour", "script", "delay"),
    [
        (99, (), 0.0),
        (pb.BEHAVIOUR_SCRIPT, (), 0.0),
        (pb.BEHAVIOUR_ECHO, ("line",), 0.0),
        (pb.BEHAVIOUR_ECHO, (), -1.0),
        (pb.BEHAVIOUR_ECHO, (), float("nan")),
    ],
)
async def test_impossible_contacts_are_refused(
    world: World, behaviour: pb.Behaviour.ValueType, script: tuple[str, ...], delay: float
) -> None:
    """And their number stays free."""
    with pytest.raises(InvalidError):
        await world.players.add_contact(CONTACT, "", behaviour, script, delay)
    assert world.server.account(CONTACT) is None


async def test_numbers_are_taken_once(world: World) -> None:
    """A contact cannot have another contact's number, nor a phone's."""
    await world.contact()
    for number in (CONTACT, PHONE):
        with pytest.raises(AlreadyExistsError):
            await world.players.add_contact(number, "", pb.BEHAVIOUR_SILENT, (), 0)


@pytest.mark.parametrize(
    "what",
    [
        Utterance(),
        Utterance(text="a", content=b"b"),
        Utterance(text="a", caption="b"),
        Utterance(image=b"no image"),
        Utterance(content=b""),
        Utterance(content=b"\xff"),
    ],
)
async def test_nonsense_is_not_said(world: World, what: Utterance) -> None:
    """Nothing, two things at once, a caption without image, no image, an empty and an unreadable message."""
    await world.contact()
    with pytest.raises(InvalidError):
        await world.players.say(CONTACT, PHONE, what)


async def test_strangers_are_not_found(world: World) -> None:
    """Each method names the contact, phone or message that does not exist."""
    await world.contact()
    hello = Utterance(text="hello")
    with pytest.raises(NotFoundError, match="contact"):
        await world.players.say(PHONE, PHONE, hello)
    with pytest.raises(NotFoundError, match="phone"):
        await world.players.say(CONTACT, CONTACT, hello)
    with pytest.raises(NotFoundError, match="contact"):
        await world.players.typing("1", PHONE, composing=True)
    with pytest.raises(NotFoundError, match="contact"):
        world.players.inbox("nobody")
    with pytest.raises(NotFoundError, match="contact"):
        world.players.watch("1")
    with pytest.raises(NotFoundError, match="message"):
        await world.players.receipt(CONTACT, "UNKNOWN", pb.RECEIPT_KIND_READ)
    with pytest.raises(InvalidError):
        await world.players.receipt(CONTACT, "UNKNOWN", pb.RECEIPT_KIND_UNSPECIFIED)
