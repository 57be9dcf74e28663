"""The life of a session: linking, losing, coming back, ending."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway_worker.domain.errors import (
    InvalidArgumentError,
    NotLinkedError,
    NotPairingError,
    ReconnectingError,
    SessionExistsError,
    SessionNotFoundError,
    StoreUnavailableError,
)
from gateway_worker.domain.ids import DEFAULT_TENANT, SessionId
from gateway_worker.ports.engines import EngineGoneError
from gateway_worker.sessions import actor as actor_module
from tests.support.fake_engines import failure
from tests.support.world import ACCOUNT, KEY, SESSION, World, open_world, until
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import session_pb2, worker_pb2

CONNECTED = session_pb2.SESSION_STATE_CONNECTED
PAIRING = session_pb2.SESSION_STATE_PAIRING


async def create(world: World, session: str = SESSION) -> session_pb2.Session:
    """Create a session."""
    return await world.gateway.create_session(DEFAULT_TENANT, worker_pb2.CreateSessionRequest(session_id=session))


async def offer(world: World, code: str = "https://wa.me/settings/linked_devices#1") -> None:
    """Connect and be offered a code."""
    await world.gateway.connect_session(DEFAULT_TENANT, SESSION, "")
    await until(lambda: world.engines.is_live(KEY.handle))
    world.engines.offer(KEY.handle, code, at=world.clock.time())
    await until(lambda: world.state() == PAIRING)


async def test_linking_moves_from_the_pairing_engine_before_it_is_called_connected(world: World) -> None:
    """Two starts: unlinked, then linked on the same database; between them the client was stopped."""
    await world.link()
    first, second = world.engines.started
    assert (first.linked, second.linked) == (False, True)
    assert first.database_path == second.database_path
    assert world.engines.stopped == [KEY.handle]
    states = [event.session_state.status.state for event in await world.events() if event.HasField("session_state")]
    assert states == [
        session_pb2.SESSION_STATE_CREATED,
        session_pb2.SESSION_STATE_CONNECTING,
        session_pb2.SESSION_STATE_CONNECTING,
        CONNECTED,
    ]
    account = world.session().account
    assert (account.jid, account.phone_number, account.lid) == (ACCOUNT, "+6281200000001", "200000000000001@lid")


async def test_a_code_is_offered_renewed_and_withdrawn(world: World) -> None:
    """GetPairing waits for the first code, then tells the newest; once linked there is none."""
    await create(world)
    with pytest.raises(NotPairingError):
        await world.gateway.pairing(DEFAULT_TENANT, SESSION, None)
    await world.gateway.connect_session(DEFAULT_TENANT, SESSION, "")
    waiting = asyncio.create_task(world.gateway.pairing(DEFAULT_TENANT, SESSION, 5.0))
    await until(lambda: world.engines.is_live(KEY.handle))
    world.engines.offer(KEY.handle, "first", at=world.clock.time())
    pairing = await waiting
    assert pairing.qr == "first"
    assert pairing.png.startswith(b"\x89PNG")
    assert pairing.terminal.endswith("\n")
    world.engines.offer(KEY.handle, "second", at=world.clock.time())
    await asyncio.sleep(0.1)
    assert (await world.gateway.pairing(DEFAULT_TENANT, SESSION, 5.0)).qr == "second"
    snapshot = next(event.snapshot for event in await world.events() if event.HasField("snapshot"))
    assert snapshot.pairing.qr == "second"
    await world.engines.tell(KEY.handle, paired=engine_pb2.Paired(jid=ACCOUNT))
    with pytest.raises(NotPairingError):
        await world.gateway.pairing(DEFAULT_TENANT, SESSION, 5.0)


async def test_an_expired_code_is_not_told(world: World) -> None:
    """A code lives as long as it says."""
    await create(world)
    await world.gateway.connect_session(DEFAULT_TENANT, SESSION, "")
    await until(lambda: world.engines.is_live(KEY.handle))
    world.engines.offer(KEY.handle, "old", 1, at=world.clock.time() - 2)
    await until(lambda: world.state() == PAIRING)
    with pytest.raises(NotPairingError):
        await world.gateway.pairing(DEFAULT_TENANT, SESSION, 0.2)


async def test_a_pairing_code_is_asked_for_when_the_client_is_ready(world: World) -> None:
    """With a phone number the first QR says that now is the time; later QR codes do not replace the code."""
    await create(world)
    await world.gateway.connect_session(DEFAULT_TENANT, SESSION, "0812-0000-0001")
    await until(lambda: world.engines.is_live(KEY.handle))
    for code in ("qr-1", "qr-2"):
        world.engines.offer(KEY.handle, code, at=world.clock.time())
    pairing = await world.gateway.pairing(DEFAULT_TENANT, SESSION, 5.0)
    assert (pairing.pairing_code, pairing.qr) == ("ABCD-EFGH", "")


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (
            engine_pb2.LINKING_OUTCOME_TIMED_OUT,
            session_pb2.SESSION_STATE_DISCONNECTED,
            session_pb2.STATE_REASON_PAIRING_TIMED_OUT,
        ),
        (
            engine_pb2.LINKING_OUTCOME_PASSKEY_REQUIRED,
            session_pb2.SESSION_STATE_FAILED,
            session_pb2.STATE_REASON_PASSKEY_REQUIRED,
        ),
    ],
)
async def test_linking_that_ends_stops_the_client_and_forgets_its_keys(
    world: World,
    outcome: engine_pb2.LinkingOutcome.ValueType,
    state: session_pb2.SessionState.ValueType,
    reason: session_pb2.StateReason.ValueType,
) -> None:
    """The state says why, no client stays, and the next attempt starts with a new database."""
    await create(world)
    await offer(world)
    await world.engines.tell(KEY.handle, linking_ended=engine_pb2.LinkingEnded(outcome=outcome))
    await until(lambda: not world.engines.is_live(KEY.handle))
    status = world.session().status
    assert (status.state, status.reason) == (state, reason)
    first = world.engines.started[0].database_path
    await until(lambda: not first.exists())
    await offer(world)
    assert world.engines.started[1].database_path != first


async def test_a_lost_engine_costs_a_reconnect(world: World) -> None:
    """The session says so, starts elsewhere, and is connected again."""
    await world.link()
    world.engines.die()
    await until(lambda: len(world.engines.started) == 3)
    await until(lambda: world.state() == CONNECTED)
    async with asyncio.timeout(5):
        while (told := await _states(world))[-1].state != CONNECTED or len(told) < 6:
            await asyncio.sleep(0.01)
    assert (told[-2].state, told[-2].reason) == (
        session_pb2.SESSION_STATE_RECONNECTING,
        session_pb2.STATE_REASON_ENGINE_LOST,
    )


async def _states(world: World) -> list[session_pb2.SessionStatus]:
    """States that the stream tells, oldest first."""
    return [event.session_state.status for event in await world.events() if event.HasField("session_state")]


async def test_a_client_that_cannot_connect_is_started_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connect is not retried by the client library: the actor does, after a pause."""
    monkeypatch.setattr(actor_module, "reconnect_delay", lambda attempt: 0.01 * attempt)
    await world.link()
    world.engines.log_in = False
    world.engines.die()
    for number in range(3, 6):
        await until(lambda number=number: len(world.engines.started) == number)  # type: ignore[misc]
        ended = engine_pb2.ClientEnded(reason=engine_pb2.END_REASON_CONNECT_FAILED)
        await world.engines.tell(KEY.handle, client_ended=ended)
    world.engines.log_in = True
    await until(lambda: world.state() == CONNECTED)


async def test_engines_that_cannot_be_had_are_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that fails is no end."""
    monkeypatch.setattr(actor_module, "reconnect_delay", lambda attempt: 0.01 * attempt)
    world.engines.start_fails = [EngineGoneError(), failure(engine_pb2.FAILURE_KIND_INTERNAL), StoreUnavailableError()]
    await world.link()
    assert not world.engines.start_fails


async def test_a_defect_does_not_leave_the_session_unattended(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that nobody expects is logged, and the session goes on."""
    monkeypatch.setattr(actor_module, "_AFTER_DEFECT", 0.01)
    world.engines.start_fails = [RuntimeError("a defect")]
    await world.link()
    assert "could not follow" in caplog.text


async def test_an_unreadable_auth_database_fails_the_session(world: World) -> None:
    """It is not tried again by itself, and the reason says what it is."""
    await world.link()
    ended = engine_pb2.ClientEnded(reason=engine_pb2.END_REASON_DATABASE_UNREADABLE)
    await world.engines.tell(KEY.handle, client_ended=ended)
    await until(lambda: not world.engines.is_live(KEY.handle))
    status = world.session().status
    assert status.state == session_pb2.SESSION_STATE_FAILED
    assert status.reason == session_pb2.STATE_REASON_AUTH_STATE_UNREADABLE
    assert world.engines.started[-1].database_path.exists(), "nothing is erased"


async def test_connected_means_evidence(world: World) -> None:
    """An engine that sees a dead socket twice corrects the state, and a live one too."""
    await world.link()

    def report(*, logged_in: bool) -> None:
        client = engine_pb2.ClientHealth(handle=KEY.handle, connected=logged_in, logged_in=logged_in)
        world.gateway.listener.on_health(engine_pb2.EngineHealth(clients=[client]))

    report(logged_in=False)
    assert world.state() == CONNECTED, "one report may be older than a login"
    report(logged_in=False)
    await until(lambda: world.state() == session_pb2.SESSION_STATE_RECONNECTING)
    report(logged_in=True)
    report(logged_in=True)
    await until(lambda: world.state() == CONNECTED)


async def test_a_client_that_is_stuck_is_started_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live client that stays unconnected for too long is replaced."""
    monkeypatch.setattr(actor_module, "_STUCK", 0.0)
    await world.link()
    await world.engines.tell(KEY.handle, connection_lost=engine_pb2.ConnectionLost())
    await asyncio.sleep(0.01)
    client = engine_pb2.ClientHealth(handle=KEY.handle)
    for _ in range(2):
        world.gateway.listener.on_health(engine_pb2.EngineHealth(clients=[client]))
    await until(lambda: len(world.engines.started) == 3)
    await until(lambda: world.state() == CONNECTED)


async def test_a_replaced_session_stays_away_until_asked(world: World) -> None:
    """StreamReplaced stops the client; ConnectSession takes the device back with its keys."""
    await world.link()
    await world.engines.tell(KEY.handle, stream_replaced=engine_pb2.StreamReplaced())
    await until(lambda: not world.engines.is_live(KEY.handle))
    assert world.state() == session_pb2.SESSION_STATE_REPLACED
    await world.gateway.connect_session(DEFAULT_TENANT, SESSION, "")
    await until(lambda: world.state() == CONNECTED)


async def test_a_temporary_ban_ends_by_itself(world: World) -> None:
    """No client is live during the ban; after its time the session connects."""
    await world.link()
    ban = engine_pb2.TemporarilyBanned(code=101)
    ban.until.FromMicroseconds(int((world.clock.time() + 0.3) * 1e6))
    await world.engines.tell(KEY.handle, temporarily_banned=ban)
    await until(lambda: not world.engines.is_live(KEY.handle))
    status = world.session().status
    assert status.state == session_pb2.SESSION_STATE_BANNED
    assert status.banned_until == ban.until
    await until(lambda: world.state() == CONNECTED)


async def test_disconnect_keeps_the_link_and_connect_uses_it(world: World) -> None:
    """DisconnectSession answers when the client is gone."""
    await world.link()
    session = await world.gateway.disconnect_session(DEFAULT_TENANT, SESSION)
    assert session.status.state == session_pb2.SESSION_STATE_DISCONNECTED
    assert not world.engines.is_live(KEY.handle)
    assert session.account.jid == ACCOUNT
    await world.gateway.connect_session(DEFAULT_TENANT, SESSION, "")
    await until(lambda: world.state() == CONNECTED)
    assert world.engines.started[-1].linked


async def test_logout_unlinks_and_erases_the_keys(world: World) -> None:
    """Also from a disconnected session, which connects for it."""
    await create(world)
    with pytest.raises(NotLinkedError):
        await world.gateway.logout_session(DEFAULT_TENANT, SESSION)
    await world.gateway.delete_session(DEFAULT_TENANT, SESSION)
    await world.link()
    await world.gateway.disconnect_session(DEFAULT_TENANT, SESSION)
    session = await world.gateway.logout_session(DEFAULT_TENANT, SESSION)
    assert session.status.state == session_pb2.SESSION_STATE_LOGGED_OUT
    assert session.status.reason == session_pb2.STATE_REASON_REQUESTED
    assert not session.HasField("account")
    await until(lambda: not world.engines.started[-1].database_path.exists())


async def test_logout_that_whatsapp_cannot_be_told_is_not_pretended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link stays."""
    await world.link()

    async def fail(_: str) -> None:
        raise failure(engine_pb2.FAILURE_KIND_NOT_CONNECTED)

    monkeypatch.setattr(world.engines, "logout", fail)
    with pytest.raises(ReconnectingError):
        await world.gateway.logout_session(DEFAULT_TENANT, SESSION)
    assert world.session().HasField("account")


async def test_delete_erases_everything_and_tells_it(world: World) -> None:
    """Card, events, messages and keys are gone; the last event says so, and the id can be used again."""
    await world.link()
    await world.send()
    await world.gateway.delete_session(DEFAULT_TENANT, SESSION)
    with pytest.raises(SessionNotFoundError):
        world.session()
    (event,) = await world.events()
    assert event.HasField("deleted")
    assert event.sequence > 1
    assert not (world.data / "sessions" / KEY.tenant / KEY.session).exists()
    await create(world)


async def test_restart_brings_linked_sessions_back_without_a_code(world: World, data: Path) -> None:
    """Wanted and linked: connected. Not wanted: left alone. Not linked: disconnected, and says why."""
    await world.link()
    await world.link(SessionId("idle"))
    await world.gateway.disconnect_session(DEFAULT_TENANT, SessionId("idle"))
    await create(world, "half")
    await world.gateway.connect_session(DEFAULT_TENANT, SessionId("half"), "")
    async with open_world(data) as later:
        await until(lambda: later.state() == CONNECTED)
        assert later.state(SessionId("idle")) == session_pb2.SESSION_STATE_DISCONNECTED
        half = later.session(SessionId("half")).status
        assert half.state == session_pb2.SESSION_STATE_DISCONNECTED
        assert half.reason == session_pb2.STATE_REASON_RECOVERY
        assert [spec.linked for spec in later.engines.started] == [True]


async def test_ids_and_pages(world: World) -> None:
    """Generated ids are unique, taken ones are refused, pages are complete and in order."""
    made = [await create(world, "") for _ in range(5)]
    assert len({session.id for session in made}) == 5
    with pytest.raises(SessionExistsError):
        await create(world, made[0].id)
    seen: list[str] = []
    token = ""
    while True:
        request = worker_pb2.ListSessionsRequest(page_size=2, page_token=token)
        page = world.gateway.list_sessions(DEFAULT_TENANT, request)
        seen += [session.id for session in page.sessions]
        if not (token := page.next_page_token):
            break
    assert seen == sorted(session.id for session in made)
    for bad in ("!!!", "YS9i", "\u00e9"):
        with pytest.raises(InvalidArgumentError):
            world.gateway.list_sessions(DEFAULT_TENANT, worker_pb2.ListSessionsRequest(page_token=bad))


async def test_update_changes_what_the_mask_names(world: World, data: Path) -> None:
    """And nothing else; it is there after a restart."""
    request = worker_pb2.CreateSessionRequest(session_id=SESSION, labels={"a": "1"})
    request.settings.default_region = "DE"
    await world.gateway.create_session(DEFAULT_TENANT, request)
    update = worker_pb2.UpdateSessionRequest(session_id=SESSION, labels={"b": "2"})
    update.settings.device_name = "Shop"
    update.update_mask.paths.extend(["labels", "settings.device_name"])
    session = await world.gateway.update_session(DEFAULT_TENANT, update)
    assert dict(session.labels) == {"b": "2"}
    assert (session.settings.default_region, session.settings.device_name) == ("DE", "Shop")
    bad = worker_pb2.UpdateSessionRequest(session_id=SESSION)
    bad.settings.default_region = "XX"
    bad.update_mask.paths.append("settings.default_region")
    with pytest.raises(InvalidArgumentError):
        await world.gateway.update_session(DEFAULT_TENANT, bad)
    async with open_world(data) as later:
        assert later.session().settings.device_name == "Shop"
