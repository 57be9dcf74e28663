"""``gateway-worker events``: what happened, and what happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway_worker.cli.channels import CALL_TIMEOUT, worker_api
from gateway_worker.cli.describe import event_line
from gateway_worker.cli.exits import UsageError
from gateway_worker.cli.following import cursor_of, follow, read
from gateway_worker.cli.options import DEFAULT_TARGET, JsonOption, TargetOption, examples
from gateway_worker.cli.output import Output, to_json
from gateway_worker.cli.running import fail, run
from gateway_worker.cli.wording import enum_words
from wagateway.worker.v1 import event_pb2, worker_pb2

app = typer.Typer(rich_markup_mode="rich", add_completion=False)

_KINDS: Final = {
    enum_words(event_pb2.EventKind.Name(kind), "EVENT_KIND_").replace(" ", "-"): kind
    for kind in event_pb2.EventKind.values()
    if kind != event_pb2.EVENT_KIND_UNSPECIFIED
}

_CONSUMER: Final = "consumer:"

_ACKNOWLEDGE_EVERY: Final = 100
"""Events after which a consumer's place is stored even when the stream never rests."""

_HEARTBEAT: Final = 1
"""Seconds of silence after which the worker says that everything was sent: the end of a replay."""


@app.command(
    epilog=examples(
        "events",
        "events --follow --session alpha --kind message",
        "events --follow --from consumer:billing --json",
    )
)
def events(
    *,
    follow_: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens from now on, until Ctrl-C.")
    ] = False,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="now, earliest (all that is kept), a CURSOR of an event, or consumer:NAME: after what this named "
            "consumer was shown last, which the worker remembers. Default: now with --follow, earliest without.",
            show_default=False,
        ),
    ] = "",
    sessions: Annotated[
        list[str] | None, typer.Option("--session", metavar="ID", help="Only this session; may be repeated.")
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"Only this kind; may be repeated: {', '.join(_KINDS)}."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="End after N events. 0: no limit.")] = 0,
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """Show what happened to sessions, one line an event; with --follow, what happens.

    Numbered events (#1, #2, …) are kept by the worker and can be replayed;
    live ones are shown as they happen only. With --follow a worker that
    restarts is waited for, and the stream goes on without a gap.
    """
    output = Output(as_json=as_json)
    unknown = [name for name in kinds or () if name not in _KINDS]
    if unknown:
        fail(output, UsageError(f"no such kind of event: {', '.join(unknown)}", hint=f"there are: {', '.join(_KINDS)}"))
    request = worker_pb2.SessionEventsRequest(session_ids=sessions, kinds=[_KINDS[name] for name in kinds or ()])
    request.heartbeat_interval.FromSeconds(_HEARTBEAT)
    consumer = _set_start(request, start or ("now" if follow_ else "earliest"))
    run(output, _events(output, target, request, consumer=consumer, limit=limit, endless=follow_))


def _set_start(request: worker_pb2.SessionEventsRequest, place: str) -> str:
    """Put the place to start from into the request; return the consumer's name, empty without one."""
    if place == "now":
        request.position = worker_pb2.START_POSITION_NOW
    elif place == "earliest":
        request.position = worker_pb2.START_POSITION_EARLIEST
    elif place.startswith(_CONSUMER):
        request.consumer = place.removeprefix(_CONSUMER)
        return request.consumer
    else:
        request.cursor = place
    return ""


async def _events(
    output: Output,
    target: str,
    request: worker_pb2.SessionEventsRequest,
    *,
    consumer: str,
    limit: int,
    endless: bool,
) -> None:
    def interrupted() -> None:
        output.notice(Text("the stream broke off; waiting for the worker to go on from there", style="yellow"))

    shown = 0
    stream = follow(target, request, interrupted=interrupted) if endless else read(target, request)
    async with (
        aclosing(stream) as responses,
        _place(target, consumer) as place,
    ):
        async for response in responses:
            if response.WhichOneof("what") == "event":
                _show(output, response.event)
                shown += 1
            await place.reached(response)
            if limit and shown >= limit:
                break
            if response.HasField("heartbeat") and not endless:
                break


def _show(output: Output, event: event_pb2.Event) -> None:
    if output.as_json:
        output.json_line(to_json(event))
    else:
        # Long messages run over the edge as the terminal likes it, rather than being cut into lines here.
        output.out.print(event_line(event), soft_wrap=True)


class _Place:
    """How far a named consumer got; without a name there is nothing to remember."""

    def __init__(self, target: str, consumer: str) -> None:
        self._target = target
        self._consumer = consumer
        self._cursor = ""
        self._pending = 0

    async def reached(self, response: worker_pb2.SessionEventsResponse) -> None:
        """Note what was shown; store it when the stream rests, or after many events."""
        if cursor := cursor_of(response):
            self._cursor = cursor
            self._pending += 1
        if response.HasField("heartbeat") or self._pending >= _ACKNOWLEDGE_EVERY:
            await self.store()

    async def store(self) -> None:
        """Store the place with the worker, if there is one that it does not know."""
        if not self._consumer or not self._pending:
            return
        self._pending = 0
        request = worker_pb2.AcknowledgeEventsRequest(consumer=self._consumer, cursor=self._cursor)
        async with worker_api(self._target) as api:
            await api.AcknowledgeEvents(request, timeout=CALL_TIMEOUT)


@asynccontextmanager
async def _place(target: str, consumer: str) -> AsyncIterator[_Place]:
    """Keep a consumer's place, also when the command is ended by Ctrl-C."""
    place = _Place(target, consumer)
    try:
        yield place
    except asyncio.CancelledError:
        await place.store()
        raise
    await place.store()
