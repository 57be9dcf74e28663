"""The way of a message out.

FIFO within a chat; typing shown in one chat delays no other; one message of a session is with the engine at a time,
because the client library holds a lock until WhatsApp's ack anyway. Before the engine gets a message the journal has
its random secret, which the client library stores with the message id before the wire: whatever dies afterwards, the
fate of the message can be found out (see :mod:`gateway_worker.sessions.fate`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway_worker.domain.errors import FateUnknownError, GatewayError, IdempotencyKeyReusedError, WaitTooLongError
from gateway_worker.domain.ids import SessionKey
from gateway_worker.domain.recipients import parse_recipient
from gateway_worker.ports.auth import AuthStates
from gateway_worker.ports.engines import EngineCallError, EngineGoneError, Engines
from gateway_worker.ports.ephemera import Clock, MediaStaging
from gateway_worker.ports.journal import Acknowledge, HandOver, Journal, MarkUnknown, Operation, Outbox, Release
from gateway_worker.ports.records import SendRecord
from gateway_worker.sessions.api import SendCommand
from gateway_worker.sessions.commits import commit_until_stored
from gateway_worker.sessions.encode import draft, timestamp, unix
from gateway_worker.sessions.fate import error_of, may_be_on_its_way
from gateway_worker.sessions.pacing import Pace, typing_time
from gateway_worker.sessions.users import user_of_chat
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import content_pb2, event_pb2, worker_pb2

logger = logging.getLogger(__name__)

_SECRET = 32  # bytes
_SEND_ID = 16  # bytes
_SERVER_ACK = event_pb2.MESSAGE_STATUS_SERVER_ACK


@dataclass(frozen=True, slots=True)
class SendTools:
    """What messages are sent with.

    Attributes:
        spawn: Starts a task that outlives the call it serves.
    """

    journal: Journal
    outbox: Outbox
    engines: Engines
    auth: AuthStates
    staging: MediaStaging
    clock: Clock
    spawn: Callable[..., asyncio.Task[worker_pb2.SentMessage]]


class SendingSession(Protocol):
    """What a sender must know of its session."""

    @property
    def key(self) -> SessionKey:
        """Tenant and id."""
        ...

    @property
    def region(self) -> str:
        """Region of local numbers."""
        ...

    @property
    def generation(self) -> int:
        """Generation of the auth database in use."""
        ...

    async def wait_until_connected(self, time_left: float | None) -> None:
        """Return once connected; raise what fits the state when that will not be soon."""
        ...


@dataclass(eq=False, slots=True)
class _Chat:
    """A chat with messages on their way.

    Attributes:
        turn: Taken by one message after the other, in the order of the calls.
        waiting: Messages that have the turn or wait for it.
        typing: Seconds of typing that are still to be shown, by all of them.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    typing: float = 0.0


@dataclass(eq=False, slots=True)
class _Job:
    """One message on its way; several calls may wait for it, by its idempotency key.

    Attributes:
        message: What the engine gets.
        media: Bytes that pass to the engine as a file.
        fingerprint: SHA-256 of what is sent to whom.
        key: Idempotency key, empty when there is none.
        typing: Seconds of typing to be shown.
        time_left: Seconds until the first call's deadline.
        calls: Calls that wait for the outcome.
        recorded: The journal has it.
        handed: The engine has it, or is about to: from here on it is finished whoever waits.
    """

    message: engine_pb2.SendMessage
    media: bytes
    fingerprint: bytes
    key: str
    typing: float
    time_left: float | None
    task: asyncio.Task[worker_pb2.SentMessage] | None = None
    calls: int = 0
    recorded: bool = False
    handed: bool = False


class Sender:
    """Sends the messages of one session.

    Args:
        session: The session.
        tools: What they are sent with.
    """

    def __init__(self, session: SendingSession, tools: SendTools) -> None:
        self._session = session
        self._tools = tools
        self._engine_turn = asyncio.Lock()
        self._queued = 0
        self._chats: dict[str, _Chat] = {}
        self._jobs: dict[str, _Job] = {}
        self._pace = Pace()

    async def send(self, command: SendCommand) -> worker_pb2.SentMessage:
        """Send, and return once WhatsApp's server acknowledged it.

        When the last call that waits for a message is cancelled before the engine has it, nothing is sent and its
        idempotency key is free again; after that the message is finished and journalled all the same.
        """
        new = self._job(command)
        job = self._jobs.get(new.key) if new.key else None
        if job is not None and job.fingerprint != new.fingerprint:
            raise IdempotencyKeyReusedError
        repeated = job is not None
        if job is None:
            job = new
            job.task = self._tools.spawn(self._run(job), name=f"send {self._session.key.handle}")
            if job.key:
                self._jobs[job.key] = job
        assert job.task is not None  # noqa: S101 - set by the branch above, now or in an earlier call
        job.calls += 1
        try:
            result = await asyncio.shield(job.task)
        finally:
            job.calls -= 1
            if not job.calls and not job.handed and not job.task.done():
                self._jobs.pop(job.key, None)
                job.task.cancel()
        return _repeated(result) if repeated else result

    def _job(self, command: SendCommand) -> _Job:
        """Understand a command; raises InvalidRecipientError."""
        session, options = self._session, command.options
        message = engine_pb2.SendMessage(
            handle=session.key.handle, chat=parse_recipient(command.to, region=session.region).jid
        )
        media = _without_media(command.content, message.content)
        if options.HasField("quoted"):
            message.quoted.CopyFrom(options.quoted)
            if options.quoted.sender:
                message.quoted.sender = parse_recipient(
                    options.quoted.sender, region=session.region, field="options.quoted.sender"
                ).jid
        for index, mention in enumerate(options.mentions):
            field_name = f"options.mentions[{index}]"
            message.mentions.append(parse_recipient(mention, region=session.region, field=field_name).jid)
        fingerprint = hashlib.sha256(message.SerializeToString(deterministic=True))
        fingerprint.update(media)
        return _Job(
            message=message,
            media=media,
            fingerprint=fingerprint.digest(),
            key=options.idempotency_key,
            typing=_typing(options, message.content),
            time_left=command.time_left,
        )

    async def _run(self, job: _Job) -> worker_pb2.SentMessage:
        """Bring one message on its way; the queue, the typing and the journal may be cancelled, the engine not."""
        try:
            if job.key and (earlier := await self._earlier(job)) is not None:
                return earlier
            await self._session.wait_until_connected(job.time_left)
            async with self._turn(job), self._staged(job):
                await self._type(job)
                record = await self._record(job)
                try:
                    return await self._hand_over(job, record)
                except BaseException:
                    if not job.handed:
                        await commit_until_stored(self._tools.journal, [Release(record.send_id)])
                    raise
        finally:
            if self._jobs.get(job.key) is job:
                del self._jobs[job.key]

    async def _earlier(self, job: _Job) -> worker_pb2.SentMessage | None:
        """The result of an earlier call with the same key, from the journal; None when there was none.

        Raises:
            IdempotencyKeyReusedError: It sent something else.
            FateUnknownError: It is not known what became of it.
        """
        record = await self._tools.outbox.find(self._session.key, job.key)
        if record is None:
            return None
        if record.fingerprint != job.fingerprint:
            raise IdempotencyKeyReusedError
        if record.status < _SERVER_ACK:
            raise FateUnknownError(metadata={"message_id": record.message_id} if record.message_id else None)
        return _repeated(_sent(record))

    @asynccontextmanager
    async def _turn(self, job: _Job) -> AsyncIterator[None]:
        """Take turns within the chat; refuse at once what would have to wait beyond its deadline."""
        jid = job.message.chat
        chat = self._chats.setdefault(jid, _Chat())
        expected = chat.typing + job.typing + (self._queued + 1) * self._pace.seconds
        if job.time_left is not None and expected > job.time_left:
            if not chat.waiting:
                del self._chats[jid]
            raise WaitTooLongError(retry_after=expected - job.time_left)
        chat.waiting += 1
        chat.typing += job.typing
        self._queued += 1
        try:
            async with chat.turn:
                yield
        finally:
            self._queued -= 1
            chat.waiting -= 1
            chat.typing -= job.typing
            if not chat.waiting:
                del self._chats[jid]

    @asynccontextmanager
    async def _staged(self, job: _Job) -> AsyncIterator[None]:
        """Hold the media in a file while the engine may read it."""
        if not job.media:
            yield
            return
        async with self._tools.staging.stage(job.media) as path:
            job.media = b""
            job.message.media_path = str(path)
            yield

    async def _type(self, job: _Job) -> None:
        """Show the account typing. A presence that does not go through is no reason not to send."""
        if not job.typing:
            return
        command = engine_pb2.SendChatPresence(handle=job.message.handle, chat=job.message.chat)
        try:
            command.activity = event_pb2.CHAT_ACTIVITY_TYPING
            await self._tools.engines.chat_presence(command)
            await asyncio.sleep(job.typing)
            command.activity = event_pb2.CHAT_ACTIVITY_PAUSED
            await self._tools.engines.chat_presence(command)
        except (EngineCallError, EngineGoneError) as error:
            logger.info("session %s: typing could not be shown: %s", self._session.key.session, error)

    async def _record(self, job: _Job) -> SendRecord:
        """Journal the send with its secret, before the engine gets it."""
        random = secrets.token_bytes(_SECRET + _SEND_ID)  # one call to the kernel: it costs more than the rest here
        job.message.message_secret = random[:_SECRET]
        record = SendRecord(
            send_id=random[_SECRET:].hex(),
            key=self._session.key,
            idempotency_key=job.key or None,
            fingerprint=job.fingerprint,
            secret=job.message.message_secret,
            chat=job.message.chat,
            handed_at=self._tools.clock.time(),
        )
        await self._tools.journal.commit([HandOver(record)])
        return record

    async def _hand_over(self, job: _Job, record: SendRecord) -> worker_pb2.SentMessage:
        """Give the message to the engine and settle what became of it."""
        loop = asyncio.get_running_loop()
        generation = self._session.generation
        async with self._engine_turn:
            await self._session.wait_until_connected(job.time_left)
            job.handed = True
            started = loop.time()
            try:
                sent = await self._tools.engines.send(job.message)
            except EngineCallError as error:
                failure: engine_pb2.Failure | None = error.failure
            except EngineGoneError:
                failure = None
            else:
                self._pace.observe(loop.time() - started)
                return await self._acknowledge(record, sent)
        return await self._not_acknowledged(record, failure, generation)

    async def _acknowledge(self, record: SendRecord, sent: engine_pb2.Sent) -> worker_pb2.SentMessage:
        acked_at = unix(sent.time)
        event = event_pb2.MessageStatusChanged(
            message_id=sent.message_id,
            chat=record.chat,
            status=_SERVER_ACK,
            time=sent.time,
            recipient=user_of_chat(record.chat),
        )
        acknowledge = Acknowledge(
            record.send_id,
            sent.message_id,
            acked_at,
            draft(record.key, event_pb2.Event(message_status=event), acked_at),
        )
        await commit_until_stored(self._tools.journal, [acknowledge])
        return _sent(replace(record, message_id=sent.message_id, acked_at=acked_at, status=_SERVER_ACK))

    async def _not_acknowledged(
        self, record: SendRecord, failure: engine_pb2.Failure | None, generation: int
    ) -> worker_pb2.SentMessage:
        """Find out what became of a message without an ack; always raises.

        ``failure``: What the engine said; None when it died.
        """
        error: GatewayError = error_of(failure)
        settle: Operation = Release(record.send_id)
        if may_be_on_its_way(failure):
            message_id = await self._tools.auth.message_of_secret(self._session.key, generation, record.secret)
            if message_id is not None:
                error = FateUnknownError(metadata={"message_id": message_id})
                settle = MarkUnknown(record.send_id, message_id)
        await commit_until_stored(self._tools.journal, [settle])
        raise error


def _without_media(content: content_pb2.Content, target: content_pb2.Content) -> bytes:
    """Copy ``content`` into ``target`` without its media bytes, and return those."""
    if content.WhichOneof("kind") != "image":
        target.CopyFrom(content)
        return b""
    target.image.caption = content.image.caption
    target.image.view_once = content.image.view_once
    return content.image.source.inline


def _typing(options: content_pb2.SendOptions, content: content_pb2.Content) -> float:
    """Seconds of typing that the options ask for."""
    if not options.HasField("human"):
        return 0.0
    if options.human.HasField("typing"):
        return float(options.human.typing.ToTimedelta().total_seconds())
    return typing_time(len(content.text.text or content.image.caption))


def _sent(record: SendRecord) -> worker_pb2.SentMessage:
    return worker_pb2.SentMessage(
        id=record.message_id,
        session_id=record.key.session,
        chat=record.chat,
        time=timestamp(record.acked_at if record.acked_at is not None else record.handed_at),
        status=event_pb2.MessageStatus.ValueType(record.status),
    )


def _repeated(result: worker_pb2.SentMessage) -> worker_pb2.SentMessage:
    copy = worker_pb2.SentMessage()
    copy.CopyFrom(result)
    copy.repeated_call = True
    return copy
