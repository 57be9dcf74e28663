"""The way in: what engines tell becomes signals, messages and statuses, in one transaction a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from gateway_worker.domain.ids import SessionKey
from gateway_worker.domain.lifecycle import (
    Banned,
    ConnectionLost,
    Failed,
    KeepaliveRestored,
    Linked,
    LinkingEnded,
    LoggedIn,
    LoggedOut,
    Reason,
    Signal,
    StreamReplaced,
)
from gateway_worker.ports.engines import Engines
from gateway_worker.ports.ephemera import Clock, Code
from gateway_worker.ports.journal import AdvanceStatus, Append, EventLog, Journal, MarkSpool, Operation, RecordMessage
from gateway_worker.ports.records import Account
from gateway_worker.sessions.actor import SessionActor
from gateway_worker.sessions.commits import commit_until_stored
from gateway_worker.sessions.encode import account_message, draft, unix
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import event_pb2

logger = logging.getLogger(__name__)

_LINKING_REASONS = {
    engine_pb2.LINKING_OUTCOME_TIMED_OUT: Reason.PAIRING_TIMED_OUT,
    engine_pb2.LINKING_OUTCOME_REFUSED: Reason.PAIRING_REFUSED,
    engine_pb2.LINKING_OUTCOME_CLIENT_OUTDATED: Reason.CLIENT_OUTDATED,
    engine_pb2.LINKING_OUTCOME_MULTIDEVICE_DISABLED: Reason.MULTIDEVICE_DISABLED,
    engine_pb2.LINKING_OUTCOME_PASSKEY_REQUIRED: Reason.PASSKEY_REQUIRED,
    engine_pb2.LINKING_OUTCOME_INTERRUPTED: Reason.CONNECTION_LOST,
}
_PASSING_LOGIN_FAILURES = frozenset({500, 501, 503})


class Inbound:
    """Takes what engines tell; implements :class:`gateway_worker.ports.engines.EngineListener`.

    Args:
        journal: Where it goes.
        log: Knows which spool positions are in the journal.
        clock: The time of what has no time of its own.
        find: Returns the actor of a handle; None for a session that was deleted.
        offer: Called with a code that is offered to link a session.
        show: Called with an ephemeral event to show.
        spawn_commit: Commits operations in a task of their own.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        log: EventLog,
        clock: Clock,
        find: Callable[[str], SessionActor | None],
        offer: Callable[[SessionActor, Code], None],
        show: Callable[[SessionKey, event_pb2.Event], None],
        spawn_commit: Callable[[Sequence[Operation], SessionActor], None],
    ) -> None:
        self._journal = journal
        self._log = log
        self.engines: Engines | None = None  # set before anything can happen in them
        self._clock = clock
        self._find = find
        self._offer = offer
        self._show = show
        self._spawn_commit = spawn_commit

    async def on_events(self, spool_id: str, events: Sequence[engine_pb2.EngineEvent]) -> None:
        """Journal a batch of spooled events; returns when it is on disk."""
        operations: list[Operation] = []
        touched: set[SessionActor] = set()
        for event in events:
            actor = self._find(event.handle)
            if actor is None:
                continue  # the session was deleted while its last events were on their way
            changes = self._translate(actor, event)
            operations += changes
            if event.WhichOneof("kind") not in _NO_LIFECYCLE:
                touched.add(actor)
        operations.append(MarkSpool(spool_id, events[-1].position))
        # Signals have changed the actors already, so the batch cannot be translated a second time: it waits here.
        await commit_until_stored(self._journal, operations)
        for actor in touched:
            actor.nudge()

    def on_ephemeral(self, event: engine_pb2.EngineEvent) -> None:
        """Show what is not journalled."""
        actor = self._find(event.handle)
        if actor is None:
            return
        shown = event_pb2.Event(session_id=actor.key.session, time=event.time)
        match event.WhichOneof("kind"):
            case "qr":
                expires_at = unix(event.time) + event.qr.valid_seconds
                self._offer(actor, Code(qr=event.qr.code, pairing_code="", expires_at=expires_at))
            case "chat_presence":
                shown.chat_presence.CopyFrom(event.chat_presence)
                self._show(actor.key, shown)
            case "presence":
                shown.presence.CopyFrom(event.presence)
                self._show(actor.key, shown)
            case kind:
                logger.warning("an engine told of %s without journalling it", kind)

    def on_health(self, health: engine_pb2.EngineHealth) -> None:
        """Hold what the engine sees of its sockets against the sessions' states."""
        for client in health.clients:
            actor = self._find(client.handle)
            if actor is not None and (
                operations := actor.check_health(logged_in=client.connected and client.logged_in)
            ):
                self._spawn_commit(operations, actor)

    def on_clients_lost(self, handles: Sequence[str], *, planned: bool) -> None:
        """Clients are gone with their engine: their sessions reconnect in another one."""
        for handle in handles:
            actor = self._find(handle)
            if actor is not None:
                self._spawn_commit(actor.client_lost(planned=planned), actor)

    async def spool_position(self, spool_id: str) -> int:
        """Last position of a spool that is in the journal."""
        return await self._log.spool_position(spool_id)

    async def on_spool_gone(self, spool_id: str) -> None:
        """A spool was delivered to its end and deleted."""
        await self._log.forget_spool(spool_id)

    def _translate(self, actor: SessionActor, event: engine_pb2.EngineEvent) -> list[Operation]:
        """Turn one event into operations."""
        match event.WhichOneof("kind"):
            case "message":
                return [_message(actor.key, event.message)]
            case "receipt":
                return _receipt(actor.key, event.receipt)
            case "undecryptable":
                shown = event_pb2.Event(undecryptable=event.undecryptable)
                return [Append(draft(actor.key, shown, unix(event.undecryptable.time)))]
            case "paired":
                return self._paired(actor, event)
            case "logged_in":
                return self._logged_in(actor, event)
            case "unconverted":
                logger.debug("session %s: event code %d is not used", actor.key.session, event.unconverted.code)
                return []
            case "stream_error":
                logger.info("session %s: stream error %s", actor.key.session, event.stream_error.code or "without code")
                return actor.signal(ConnectionLost(Reason.SERVER_UNAVAILABLE))
            case "client_ended":
                return _client_ended(actor, event.client_ended)
            case _:
                signal = _signal(event)
                return actor.signal(signal) if signal is not None else []

    def _paired(self, actor: SessionActor, event: engine_pb2.EngineEvent) -> list[Operation]:
        at = unix(event.time)
        account = Account(jid=event.paired.jid, lid=event.paired.lid, push_name="", linked_at=at)
        paired = event_pb2.Event(paired=event_pb2.SessionPaired(account=account_message(account)))
        self._show(
            actor.key,
            event_pb2.Event(session_id=actor.key.session, time=event.time, pairing=event_pb2.PairingOffered()),
        )
        return [*actor.signal(Linked(), account=account), Append(draft(actor.key, paired, at))]

    def _logged_in(self, actor: SessionActor, event: engine_pb2.EngineEvent) -> list[Operation]:
        told, known = event.logged_in, actor.record.account
        account = Account(
            jid=told.jid or (known.jid if known else ""),
            lid=told.lid or (known.lid if known else ""),
            push_name=told.push_name or (known.push_name if known else ""),
            linked_at=known.linked_at if known else unix(event.time),
        )
        if self.engines is None or not self.engines.is_live(event.handle):
            return []  # what a dead engine saw last; its client is being started again
        if self.engines.is_linking_engine(event.handle):
            # It connects once more from a session engine, and is called connected then.
            actor.move_out_of_linking()
            return actor.signal(Linked(), account=account)
        return actor.signal(LoggedIn(), account=account)


_NO_LIFECYCLE = frozenset({"message", "receipt", "undecryptable", "unconverted"})


def _signal(event: engine_pb2.EngineEvent) -> Signal | None:
    """The signal that an event is, None for kinds of a newer contract."""
    match event.WhichOneof("kind"):
        case "linking_ended":
            return LinkingEnded(_LINKING_REASONS.get(event.linking_ended.outcome, Reason.PAIRING_REFUSED))
        case "connection_lost":
            return ConnectionLost()
        case "keepalive_timed_out":
            return ConnectionLost(Reason.KEEPALIVE_TIMED_OUT)
        case "keepalive_restored":
            return KeepaliveRestored()
        case "logged_out":
            return LoggedOut()
        case "stream_replaced":
            return StreamReplaced()
        case "temporarily_banned":
            ban = event.temporarily_banned
            return Banned(unix(ban.until) if ban.HasField("until") else None)
        case "login_refused":
            passing = event.login_refused.code in _PASSING_LOGIN_FAILURES
            return ConnectionLost(Reason.SERVER_UNAVAILABLE) if passing else Failed(Reason.LOGIN_REFUSED)
        case "client_outdated":
            return Failed(Reason.CLIENT_OUTDATED)
        case kind:
            logger.warning("an engine told of %s, which this worker does not know", kind)
            return None


def _client_ended(actor: SessionActor, ended: engine_pb2.ClientEnded) -> list[Operation]:
    logger.info("session %s: client ended: %s", actor.key.session, engine_pb2.EndReason.Name(ended.reason))
    if ended.reason == engine_pb2.END_REASON_DATABASE_UNREADABLE:
        return actor.signal(Failed(Reason.AUTH_STATE_UNREADABLE))
    actor.client_ended()
    full = ended.reason == engine_pb2.END_REASON_STORAGE_FULL
    return actor.signal(ConnectionLost(Reason.STORAGE_FULL if full else Reason.CONNECTION_LOST))


def _message(key: SessionKey, arrived: engine_pb2.MessageArrived) -> RecordMessage:
    message = arrived.message
    return RecordMessage(
        key=key,
        chat=message.chat,
        sender=message.sender.id,
        message_id=message.id,
        from_me=message.from_me,
        raw=arrived.raw,
        event=draft(key, event_pb2.Event(message=message), unix(message.time)),
    )


def _receipt(key: SessionKey, receipt: engine_pb2.ReceiptArrived) -> list[Operation]:
    """One operation a message; what the account itself read on another device is no status of a sent message."""
    if receipt.from_me:
        return []
    at = unix(receipt.time)
    return [
        AdvanceStatus(
            key=key,
            message_id=message_id,
            status=receipt.status,
            event=draft(
                key,
                event_pb2.Event(
                    message_status=event_pb2.MessageStatusChanged(
                        message_id=message_id,
                        chat=receipt.chat,
                        status=receipt.status,
                        time=receipt.time,
                        recipient=receipt.sender,
                    )
                ),
                at,
            ),
        )
        for message_id in receipt.message_ids
    ]
