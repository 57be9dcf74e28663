"""What breaks at three in the morning: engines and workers killed, disks full, clients that stop reading."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.api import (
    CONNECTED,
    EventFollower,
    SimulatorControl,
    WorkerApi,
    link_session,
    send_text,
    simulator_control,
    worker_api,
)
from tests.support.edge import failure_of
from tests.support.processes import ProcessError, RunningSimulator, running_worker
from wagateway.simulator.v1 import simulator_pb2
from wagateway.worker.v1 import event_pb2, session_pb2, worker_pb2

PHONE = "6281200000001"
CONTACT = "6281200000101"
CHAT = f"{CONTACT}@s.whatsapp.net"
# Whom the session writes to while CONTACT writes to it: somebody else, because the client library has a race between
# encrypting for a peer and decrypting from the same one at the same moment (docs/neonize-traps.md).
LISTENER = "6281200000102"

# The client library acknowledges a message to WhatsApp before it hands it over, through a channel of 100 events: what
# is in there dies with the process. About one message a kill at 450 messages/s on a machine that has time for it, the
# whole channel on one that has not.
LOST_AT_MOST = 100  # a kill


def gapless(events: list[event_pb2.Event]) -> bool:
    """Whether the durable events are numbered without gap or repeat."""
    sequences = [event.sequence for event in events if event.sequence]
    return sequences == list(range(1, len(sequences) + 1))


async def say_until(control: SimulatorControl, stop: asyncio.Event) -> list[str]:
    """Let the contact write some 150 messages a second; returns what it wrote."""
    said: list[str] = []
    while not stop.is_set():
        text = f"message {len(said)}"
        await control.Say(simulator_pb2.SayRequest(contact=CONTACT, phone=PHONE, text=text))
        said.append(text)
        await asyncio.sleep(0.005)
    return said


async def send_until(api: WorkerApi, stop: asyncio.Event) -> tuple[dict[str, str], Counter[str]]:
    """Send one text after the other; returns texts by id as acknowledged, and the reasons of what was not."""
    acknowledged: dict[str, str] = {}
    reasons: Counter[str] = Counter()
    number = 0
    while not stop.is_set():
        number += 1
        text = f"reply {number}"
        try:
            acknowledged[(await send_text(api, "shop", LISTENER, text)).id] = text
        except grpc.aio.AioRpcError as error:
            reasons[failure_of(error).reason] += 1
            await asyncio.sleep(0.02)
    return acknowledged, reasons


async def test_an_engine_killed_under_traffic(
    simulator: RunningSimulator, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The stream stays open, the session is back within 5 s, events appear once, sends have their true fate."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        for number in (CONTACT, LISTENER):
            await control.AddContact(simulator_pb2.AddContactRequest(number=number))
        await link_session(api, control, events, "shop", number=PHONE)
        stop = asyncio.Event()
        said_task = asyncio.create_task(say_until(control, stop))
        sent_task = asyncio.create_task(send_until(api, stop))
        for _ in range(3):
            await asyncio.sleep(0.5)
            since = events.mark
            (engine,) = worker.engine_pids("session")
            os.kill(engine, signal.SIGKILL)
            await events.wait_state("shop", session_pb2.SESSION_STATE_RECONNECTING, since=since)
            await events.wait_state("shop", CONNECTED, since=since, patience=5.0)
        await asyncio.sleep(0.3)
        stop.set()
        said, (acknowledged, reasons) = await said_task, await sent_task
        await send_text(api, "shop", LISTENER, "the last one")
        last = simulator_pb2.SayRequest(contact=CONTACT, phone=PHONE, text="said last")
        await control.Say(last)
        await events.wait_for(lambda event: event.message.content.text.text == "said last")

        assert gapless(events.events("shop"))
        arrived = Counter(
            event.message.content.text.text for event in events.events("shop", "message") if not event.message.from_me
        )
        assert max(arrived.values()) == 1, "nothing twice"
        lost = [text for text in said if text not in arrived]
        assert len(lost) <= 3 * LOST_AT_MOST, f"{len(lost)} of {len(said)} lost in three kills"
        record_property("lost", f"{len(lost)} of {len(said)} in three kills")

        inbox = (await control.ListInbox(simulator_pb2.ListInboxRequest(contact=LISTENER))).messages
        received = Counter(message.text for message in inbox if not message.duplicate)
        assert [text for text in acknowledged.values() if received[text] != 1] == [], "an OK was delivered, once"
        assert set(reasons) <= {"SEND_FATE_UNKNOWN", "ENGINE_UNAVAILABLE", "SESSION_RECONNECTING"}, reasons
        assert max(received.values()) == 1, "nothing was repeated silently"


async def test_a_worker_killed_under_traffic_starts_again(simulator: RunningSimulator, tmp_path: Path) -> None:
    """Every linked session is back without a code, and what its engines had spooled is in the journal, once."""
    said: list[str] = []
    async with simulator_control(simulator.target) as control:
        await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT))
        async with (
            running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
            worker_api(worker.target) as api,
            EventFollower(api) as events,
        ):
            for number in range(1, 4):
                await link_session(api, control, events, f"shop-{number}", number=f"628120000000{number}")
            stop = asyncio.Event()
            talking = asyncio.create_task(say_until(control, stop))
            await asyncio.sleep(1.0)
            await worker.kill()
            stop.set()
            said = await talking
            before = {event.cursor for event in events.events() if event.cursor}
        async with (
            running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
            worker_api(worker.target) as api,
            EventFollower(api) as events,
        ):
            await events.wait_all_connected([f"shop-{number}" for number in range(1, 4)])
            await control.Say(simulator_pb2.SayRequest(contact=CONTACT, phone=PHONE, text="said last"))
            await events.wait_for(lambda event: event.message.content.text.text == "said last")
            assert before <= {event.cursor for event in events.events() if event.cursor}, "what was shown stays"
            assert gapless(events.events("shop-1"))
            arrived = Counter(event.message.content.text.text for event in events.events("shop-1", "message"))
            assert max(arrived.values()) == 1
            assert len([text for text in said if text not in arrived]) <= LOST_AT_MOST
            assert not list((tmp_path / "data" / "spool").glob("*.broken"))


async def test_an_ack_that_never_comes_is_not_called_ok(simulator: RunningSimulator, tmp_path: Path) -> None:
    """The message was delivered, its ack withheld, the connection lost: the fate is unknown, until a receipt tells."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT))
        await link_session(api, control, events, "shop", number=PHONE)
        await send_text(api, "shop", CHAT, "warm up")
        await control.SetFaults(simulator_pb2.SetFaultsRequest(withhold_acks=True))
        request = text_request("did it arrive?")
        request.options.idempotency_key = "k"
        call = asyncio.create_task(_outcome(api, request))
        inbox: list[str] = []
        while "did it arrive?" not in inbox:
            messages = (await control.ListInbox(simulator_pb2.ListInboxRequest(contact=CONTACT))).messages
            inbox = [message.text for message in messages]
            await asyncio.sleep(0.05)
        for engine in worker.engine_pids("session"):
            os.kill(engine, signal.SIGKILL)
        failure = failure_of(await call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNKNOWN, "SEND_FATE_UNKNOWN")
        message_id = failure.metadata["message_id"]
        await control.SetFaults(simulator_pb2.SetFaultsRequest())
        settled = await events.wait_for(lambda event: event.message_status.message_id == message_id)
        assert settled.message_status.status >= event_pb2.MESSAGE_STATUS_DELIVERED
        again = (await api.SendText(request)).message
        assert (again.id, again.repeated_call) == (message_id, True)


def text_request(text: str) -> worker_pb2.SendTextRequest:
    """A text to the contact."""
    request = worker_pb2.SendTextRequest(session_id="shop", to=CHAT)
    request.text.text = text
    return request


async def _outcome(api: WorkerApi, request: worker_pb2.SendTextRequest) -> grpc.aio.AioRpcError:
    """The error of a send that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.SendText(request)
    return caught.value


async def test_refusals_of_the_server_are_told_apart(simulator: RunningSimulator, tmp_path: Path) -> None:
    """463 restricts the account; another code refuses the message; both deliver nothing."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT))
        await link_session(api, control, events, "shop", number=PHONE)
        for code, reason in ((463, "ACCOUNT_RESTRICTED"), (479, "MESSAGE_REFUSED")):
            await control.SetFaults(simulator_pb2.SetFaultsRequest(refuse_messages=code))
            failure = failure_of(await _outcome(api, text_request("no")))
            assert (failure.reason, failure.metadata["server_code"]) == (reason, str(code))
        await control.SetFaults(simulator_pb2.SetFaultsRequest())
        inbox = (await control.ListInbox(simulator_pb2.ListInboxRequest(contact=CONTACT))).messages
        assert not inbox


async def test_a_lost_network_comes_back(simulator: RunningSimulator, tmp_path: Path) -> None:
    """Dropped connections and a server that refuses for a while: RECONNECTING, then CONNECTED, by itself."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await link_session(api, control, events, "shop", number=PHONE)
        since = events.mark
        await control.SetFaults(simulator_pb2.SetFaultsRequest(refuse_connections=True))
        await control.DropConnections(simulator_pb2.DropConnectionsRequest())
        await events.wait_state("shop", session_pb2.SESSION_STATE_RECONNECTING, since=since)
        await asyncio.sleep(1.0)
        await control.SetFaults(simulator_pb2.SetFaultsRequest())
        await events.wait_state("shop", CONNECTED, since=since)


async def test_a_drain_in_its_documented_order(simulator: RunningSimulator, tmp_path: Path) -> None:
    """SIGTERM: streams end with a cursor, a call under way is finished, exit code 0, nothing runs on."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
    ):
        async with EventFollower(api) as events:
            await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT))
            await link_session(api, control, events, "shop", number=PHONE)
            engines = worker.engine_pids()
            await control.SetFaults(simulator_pb2.SetFaultsRequest(ack_delay=Duration(seconds=1)))
            call = asyncio.create_task(send_text(api, "shop", CHAT, "under way"))
            await asyncio.sleep(0.4)
            ending = asyncio.create_task(worker.terminate())
            end = await events.wait_ended()
            assert end is not None
            assert failure_of(end).reason == "WORKER_DRAINING"
            assert events.heartbeats[-1].cursor == events.cursor, "the last word is where to go on"
            assert (await call).status == event_pb2.MESSAGE_STATUS_SERVER_ACK
            assert await ending == 0
        assert not [pid for pid in engines if Path(f"/proc/{pid}").exists()]
        assert not list((tmp_path / "data" / "spool").iterdir()), "every event was journalled"


async def test_the_second_worker_on_a_data_directory_refuses(simulator: RunningSimulator, tmp_path: Path) -> None:
    """It names the directory and the first one's process, and the first goes on."""
    data = tmp_path / "data"
    async with running_worker(data_dir=data, simulator=simulator) as first:
        with pytest.raises(ProcessError) as caught:
            async with running_worker(data_dir=data, simulator=simulator):
                pass
        assert str(first.pid) in str(caught.value)
        assert "GATEWAY_DATA_DIR" in str(caught.value)
        async with worker_api(first.target) as api:
            await api.ListSessions(worker_pb2.ListSessionsRequest())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: (data / "gateway.db").write_bytes(b"not a database" * 100), "gateway.db"),
        (lambda data: (data / "gateway.db").mkdir(), "gateway.db"),
        (lambda data: (data / "spool").write_text("a file"), "spool"),
    ],
)
async def test_what_cannot_be_used_is_named_at_start(tmp_path: Path, damage: object, says: str) -> None:
    """No traceback: the path, what is wrong, and exit code 1."""
    data = tmp_path / "data"
    data.mkdir()
    damage(data)  # type: ignore[operator]
    async with running_worker(data_dir=data, ready=False) as worker:
        assert await worker.wait(20) == 1
        assert says in worker.output()
        assert "Traceback" not in worker.output()


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("GATEWAY_LISTEN", "nonsense", "HOST:PORT"),
        ("GATEWAY_LOG_LEVEL", "LOUD", "'DEBUG'"),
        ("GATEWAY_SESSIONS_PER_ENGINE", "0", "greater than or equal to 1"),
        ("GATEWAY_SIMULATOR", "/nowhere/simulator.json", "existing file"),
    ],
)
async def test_a_wrong_setting_is_named_with_what_is_accepted(
    tmp_path: Path, name: str, value: str, accepted: str
) -> None:
    """Exit code 2, the variable, and what it takes."""
    async with running_worker(data_dir=tmp_path / "data", env={name: value}, ready=False) as worker:
        assert await worker.wait(20) == 2
        assert name in worker.output()
        assert accepted in worker.output().replace("\n", " ")
        assert "Traceback" not in worker.output()


async def _first_refusal(api: WorkerApi) -> grpc.aio.AioRpcError:
    """Send until a send is refused."""
    for number in range(200):
        try:
            await send_text(api, "shop", CHAT, f"fill {number}")
        except grpc.aio.AioRpcError as error:
            return error
    pytest.fail("nothing was refused")


async def test_a_full_disk_loses_nothing(simulator: RunningSimulator, tmp_path: Path) -> None:
    """While no file may grow, sends answer UNAVAILABLE; with room again, all that was said arrives, once."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT))
        await link_session(api, control, events, "shop", number=PHONE)
        (engine,) = worker.engine_pids("session")
        journal = tmp_path / "data" / "gateway.db-wal"
        unlimited = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        # A limit on the size of files is a full disk for the worker's database; the engine's spool keeps working.
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (journal.stat().st_size, unlimited[1]))
        failure = failure_of(await _first_refusal(api))
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        said = [f"while full {number}" for number in range(20)]
        for text in said:
            await control.Say(simulator_pb2.SayRequest(contact=CONTACT, phone=PHONE, text=text))
        await asyncio.sleep(0.5)
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, unlimited)
        await events.wait_for(lambda event: event.message.content.text.text == said[-1])
        assert Path(f"/proc/{engine}").exists(), "no engine died of it"
        texts = [event.message.content.text.text for event in events.events("shop", "message")]
        assert texts == said
        await send_text(api, "shop", CHAT, "room again")
        assert gapless(events.events("shop"))


async def test_a_client_that_stops_reading_slows_nobody(simulator: RunningSimulator, tmp_path: Path) -> None:
    """Another stream gets everything at once, sends go out, and the stalled one is let go, resumable."""
    async with (
        running_worker(
            data_dir=tmp_path / "data", simulator=simulator, env={"GATEWAY_STREAM_STALL_SECONDS": "2"}
        ) as worker,
        worker_api(worker.target) as api,
        worker_api(worker.target, own_connection=True) as lazy_api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT))
        await link_session(api, control, events, "shop", number=PHONE)
        lazy = lazy_api.SessionEvents(worker_pb2.SessionEventsRequest(position=worker_pb2.START_POSITION_EARLIEST))
        first = await lazy.read()
        assert isinstance(first, worker_pb2.SessionEventsResponse)
        big = "x" * 60_000
        for number in range(60):
            await control.Say(simulator_pb2.SayRequest(contact=CONTACT, phone=PHONE, text=f"{number} {big}"))
        await events.wait_for(lambda event: event.message.content.text.text.startswith("59 "))
        await send_text(api, "shop", CHAT, "still quick")
        await asyncio.sleep(4)
        cursor, seen = "", 0
        reason = ""
        try:
            while isinstance(response := await lazy.read(), worker_pb2.SessionEventsResponse):
                cursor = response.event.cursor or cursor
                seen += bool(response.event.cursor)
        except grpc.aio.AioRpcError as error:
            reason = failure_of(error).reason
        assert reason == "SLOW_CONSUMER"
        async with EventFollower(api, worker_pb2.SessionEventsRequest(cursor=cursor)) as rest:
            await rest.wait_for(lambda event: event.message.content.text.text.startswith("59 "))
            durable = [event for event in rest.events("shop") if event.sequence]
            assert durable[0].sequence == seen + 1, "resumed exactly behind what was read"
