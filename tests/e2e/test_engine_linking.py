"""An engine's clients: linking, stopping, coming back, leaving. The real client library against the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_worker.simulator.runner import Simulator
from gateway_worker.simulator.settings import SimulatorSettings
from tests.support.engine_process import CommandError, EngineProcess, make_database
from tests.support.engine_world import EngineWorld, engine_world, has_text, text_to, texts
from wagateway.engine.v1 import engine_pb2
from wagateway.simulator.v1 import simulator_pb2


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EngineWorld]:
    """A simulator in this process."""
    async with engine_world(tmp_path) as world:
        yield world


async def test_a_session_links_by_qr_and_tells_who_it_is(world: EngineWorld) -> None:
    """QR code (60 s), link, login with both addresses, and the display name once the phone has told it."""
    phone = (await world.control.AddPhone(simulator_pb2.AddPhoneRequest(push_name="Ratna"))).phone
    async with world.engine() as engine:
        await engine.start("s", world.database("s"))
        offered = await engine.event("s", "qr")
        scanned = await world.control.ScanCode(simulator_pb2.ScanCodeRequest(number=phone.number, code=offered.qr.code))
        paired = await engine.event("s", "paired")
        logged_in = await engine.event("s", "logged_in")
        named = await engine.event("s", "logged_in", lambda event: bool(event.logged_in.push_name))

    assert offered.position == 0
    assert offered.qr.valid_seconds == 60
    assert paired.paired == engine_pb2.Paired(jid=scanned.jid, lid=f"{phone.lid}@lid")
    assert (logged_in.logged_in.jid, logged_in.logged_in.lid) == (scanned.jid, f"{phone.lid}@lid")
    assert named.logged_in.push_name == "Ratna"
    positions = [event.position for event in engine.spooled("engine")]
    assert positions == list(range(1, len(positions) + 1))


async def test_a_stopped_session_comes_back_without_a_code(world: EngineWorld) -> None:
    """Stop ends the events; start logs in again, and what came meanwhile is delivered."""
    async with world.engine() as engine:
        await world.link(engine, "alice")
        bob = await world.link(engine, "bob")
        await engine.stop("bob")
        count = len(engine.events)
        await engine.send(text_to("alice", bob, "while you were away"))
        await asyncio.sleep(0.3)
        assert not [event for _, event in engine.events[count:] if event.handle == "bob"]
        await engine.stop("bob")  # nobody is there any more: nothing to do
        await engine.start("bob", world.database("bob"))
        await engine.event("bob", "logged_in")
        assert texts([await engine.event("bob", "message", has_text)]) == ["while you were away"]


async def test_a_handle_that_is_not_live_is_never_asked_for(world: EngineWorld) -> None:
    """Commands for unknown, unlinked and taken handles are refused; the library would end the process (trap 17)."""
    async with world.engine(max_sessions=2) as engine:
        with pytest.raises(CommandError) as unknown:
            await engine.send(text_to("nobody", "6281200000001", "hello"))
        await engine.start("new", world.database("new"))
        await engine.event("new", "qr")
        with pytest.raises(CommandError) as unlinked:
            await engine.send(text_to("new", "6281200000001", "hello"))
        with pytest.raises(CommandError) as taken:
            await engine.start("new", world.database("new"))
        await engine.start("other", world.database("other"))
        with pytest.raises(CommandError) as full:
            await engine.start("third", world.database("third"))
        await engine.stop("other")
        with pytest.raises(CommandError) as path:
            await engine.start("fourth", Path("/tmp/a?b.db"))  # noqa: S108 - never opened

    assert unknown.value.failure.kind == engine_pb2.FAILURE_KIND_NOT_LIVE
    assert unlinked.value.failure.kind == engine_pb2.FAILURE_KIND_NOT_LINKED
    for error in (taken, full, path):
        assert error.value.failure.kind == engine_pb2.FAILURE_KIND_INTERNAL


async def test_a_qr_that_nobody_scans_is_given_up_without_harm(world: EngineWorld) -> None:
    """Stopping a session that is being linked neither ends the process nor keeps it from linking it again (#201)."""
    async with world.engine() as engine:
        for wait in (True, False, True, False):
            await engine.start("s", world.database("s"))
            if wait:
                await engine.event("s", "qr")
            await engine.stop("s")
        phone = await world.link(engine, "s")
        contact = await world.contact(simulator_pb2.BEHAVIOUR_READ)
        await engine.send(text_to("s", contact, f"I am {phone}"))


async def test_codes_that_run_out_are_told(tmp_path: Path) -> None:
    """When the last code is over, linking ended as timed out (trap 7), by the login-status hook alone."""
    settings = SimulatorSettings(file=tmp_path / "simulator.json", ref_lifetimes=(60.0,))
    async with Simulator(settings) as simulator, EngineProcess(tmp_path, simulator=simulator.file) as engine:
        await engine.start("s", make_database(tmp_path / "s.db"))
        await engine.event("s", "qr")
        ended = await engine.event("s", "linking_ended", within=25)  # the client gives the last code 20 s
        await engine.stop("s")
    assert ended.linking_ended.outcome == engine_pb2.LINKING_OUTCOME_TIMED_OUT


async def test_linking_that_is_cut_off_is_told(world: EngineWorld) -> None:
    """A connection that breaks while a code is offered ends linking as interrupted: nobody had his time."""
    async with world.engine() as engine:
        await engine.start("s", world.database("s"))
        await engine.event("s", "qr")
        await world.control.DropConnections(simulator_pb2.DropConnectionsRequest())
        ended = await engine.event("s", "linking_ended")
        await engine.stop("s")
    assert ended.linking_ended.outcome == engine_pb2.LINKING_OUTCOME_INTERRUPTED


async def test_a_pairing_code_is_asked_for_only_when_it_can_be(world: EngineWorld) -> None:
    """Before a QR code is offered there is no connection to ask for a pairing code over (trap 9)."""
    async with world.engine() as engine:
        request = engine_pb2.PairPhone(handle="s", phone_number="6281200000001")
        with pytest.raises(CommandError) as early:
            await engine.call(engine_pb2.ControlRequest(pair_phone=request))
        assert early.value.failure.kind == engine_pb2.FAILURE_KIND_NOT_LIVE


async def test_logout_unlinks_the_device(world: EngineWorld) -> None:
    """After a logout the phone has no device left, the client is gone, and its database holds no device."""
    async with world.engine() as engine:
        phone = await world.link(engine, "s")
        await engine.call(engine_pb2.ControlRequest(logout=engine_pb2.LogoutSession(handle="s")))
        with pytest.raises(CommandError):
            await engine.send(text_to("s", phone, "hello"))
        (listed,) = (await world.control.ListPhones(simulator_pb2.ListPhonesRequest())).phones
        assert not listed.devices
        await engine.start("s", world.database("s"))
        await engine.event("s", "qr")
