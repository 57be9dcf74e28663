"""``gateway-worker events``."""

from __future__ import annotations

import grpc
import pytest

from tests.support.command_line import Cli
from tests.support.fake_worker import FakeWorker, Refuse
from wagateway.worker.v1 import content_pb2, event_pb2, worker_pb2


def message(sequence: int, text: str = "hi") -> event_pb2.Event:
    """A received message."""
    event = event_pb2.Event(
        session_id="alpha",
        sequence=sequence,
        cursor=f"p{sequence}",
        message=event_pb2.MessageReceived(
            id="3A01",
            sender=event_pb2.User(phone_number="+6281300000001"),
            sender_name="Siti",
            content=content_pb2.Content(text=content_pb2.TextContent(text=text)),
        ),
    )
    event.time.GetCurrentTime()
    return event


def heartbeat(cursor: str) -> worker_pb2.Heartbeat:
    """The worker's sign that everything was sent."""
    return worker_pb2.Heartbeat(cursor=cursor)


DRAINING = Refuse(grpc.StatusCode.UNAVAILABLE, "WORKER_DRAINING")


def test_a_replay_ends_when_everything_was_shown(cli: Cli, worker: FakeWorker) -> None:
    """A replay ends when everything was shown."""
    worker.streams.put([message(1), message(2, "bye"), heartbeat("p2"), message(3, "too late")])
    result = cli("events")
    assert result.code == 0
    assert result.words.count("#") == 2
    assert "alpha #2 ← +6281300000001 (Siti): bye" in result.words
    (request,) = worker.requests("SessionEvents")
    assert request.position == worker_pb2.START_POSITION_EARLIEST
    assert request.heartbeat_interval.seconds == 1


def test_as_json_each_event_is_a_line(cli: Cli, worker: FakeWorker) -> None:
    """As JSON each event is a line."""
    worker.streams.put([message(1), message(2, "zwei ✓"), heartbeat("p2")])
    first, second = cli("events", "--json").json_lines()
    assert (first["sequence"], first["cursor"]) == ("1", "p1")
    assert second["message"]["content"]["text"]["text"] == "zwei ✓"


def test_a_long_message_stays_one_line(cli: Cli, worker: FakeWorker) -> None:
    """A long message stays one line."""
    worker.streams.put([message(1, "word " * 100), heartbeat("p1")])
    assert len(cli("events").out.splitlines()) == 1


def test_filters_are_passed_on(cli: Cli, worker: FakeWorker) -> None:
    """Filters are passed on."""
    worker.streams.put([heartbeat("p9")])
    cli("events", "--session", "a", "--session", "b", "--kind", "message-status", "--kind", "paired")
    (request,) = worker.requests("SessionEvents")
    assert list(request.session_ids) == ["a", "b"]
    assert list(request.kinds) == [event_pb2.EVENT_KIND_MESSAGE_STATUS, event_pb2.EVENT_KIND_PAIRED]


def test_an_unknown_kind_is_named_with_those_there_are(cli: Cli, worker: FakeWorker) -> None:
    """An unknown kind is named with those there are."""
    result = cli("events", "--kind", "letter")
    assert (result.code, worker.calls) == (2, [])
    assert "no such kind of event: letter" in result.words
    assert "chat-presence" in result.words


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--from", "now"], {"position": worker_pb2.START_POSITION_NOW}),
        (["--from", "earliest"], {"position": worker_pb2.START_POSITION_EARLIEST}),
        (["--from", "p7"], {"cursor": "p7"}),
        (["--from", "consumer:billing"], {"consumer": "billing"}),
        (["--follow", "--limit", "1"], {"position": worker_pb2.START_POSITION_NOW}),
    ],
)
def test_where_to_start(cli: Cli, worker: FakeWorker, arguments: list[str], expected: dict[str, object]) -> None:
    """Where to start."""
    worker.streams.put([message(8), heartbeat("p8")])
    assert cli("events", *arguments).code == 0
    (request,) = worker.requests("SessionEvents")
    (name,) = expected
    assert request.WhichOneof("start") == name
    assert getattr(request, name) == expected[name]


def test_a_limit_ends_it(cli: Cli, worker: FakeWorker) -> None:
    """A limit ends it."""
    worker.streams.put([message(number) for number in range(1, 9)])
    assert len(cli("events", "--follow", "--limit", "3", "--json").json_lines()) == 3


def test_a_consumers_place_is_stored_once_the_stream_rests(cli: Cli, worker: FakeWorker) -> None:
    """A consumer's place is stored once the stream rests."""
    worker.streams.put([message(1), message(2), heartbeat("p5")])
    cli("events", "--from", "consumer:billing")
    (request,) = worker.requests("AcknowledgeEvents")
    assert request == worker_pb2.AcknowledgeEventsRequest(consumer="billing", cursor="p5")


def test_a_consumers_place_is_stored_when_a_limit_ends_it(cli: Cli, worker: FakeWorker) -> None:
    """A consumer's place is stored when a limit ends it."""
    worker.streams.put([message(1), message(2), message(3)])
    cli("events", "--from", "consumer:billing", "--limit", "2")
    assert worker.requests("AcknowledgeEvents")[-1].cursor == "p2"


def test_a_busy_consumers_place_is_stored_now_and_then(cli: Cli, worker: FakeWorker) -> None:
    """A busy consumer's place is stored now and then."""
    worker.streams.put([message(number) for number in range(1, 151)])
    cli("events", "--from", "consumer:billing", "--limit", "150")
    assert [request.cursor for request in worker.requests("AcknowledgeEvents")] == ["p100", "p150"]


def test_without_a_consumer_nothing_is_stored(cli: Cli, worker: FakeWorker) -> None:
    """Without a consumer nothing is stored."""
    worker.streams.put([message(1), heartbeat("p1")])
    cli("events")
    assert worker.requests("AcknowledgeEvents") == []


def test_following_goes_on_after_the_last_event_when_the_stream_breaks(cli: Cli, worker: FakeWorker) -> None:
    """Following goes on after the last event when the stream breaks."""
    worker.streams.put([message(1), message(2), DRAINING])
    worker.streams.put([message(3)])
    result = cli("events", "--follow", "--from", "earliest", "--limit", "3")
    assert result.code == 0
    first, second = worker.requests("SessionEvents")
    assert first.WhichOneof("start") == "position"
    assert second.cursor == "p2"
    assert "the stream broke off" in result.err


def test_following_goes_on_from_a_heartbeat_too(cli: Cli, worker: FakeWorker) -> None:
    """Following goes on from a heartbeat too."""
    worker.streams.put([heartbeat("p40"), DRAINING])
    worker.streams.put([message(41)])
    assert cli("events", "--follow", "--limit", "1").code == 0
    assert worker.requests("SessionEvents")[1].cursor == "p40"


def test_following_goes_on_when_this_client_was_too_slow(cli: Cli, worker: FakeWorker) -> None:
    """Following goes on when this client was too slow."""
    worker.streams.put([message(1), Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")])
    worker.streams.put([message(2)])
    assert cli("events", "--follow", "--limit", "2").code == 0


def test_following_does_not_repeat_what_is_refused(cli: Cli, worker: FakeWorker) -> None:
    """Following does not repeat what is refused."""
    worker.streams.put(
        [Refuse(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED", message="gone", metadata={"oldest_cursor": "p9"})]
    )
    result = cli("events", "--follow", "--from", "p1")
    assert result.code == 1
    assert "oldest_cursor: p9" in result.words
    assert "--from earliest" in result.words
    assert len(worker.requests("SessionEvents")) == 1


def test_a_replay_that_breaks_off_is_an_error(cli: Cli, worker: FakeWorker) -> None:
    """A replay that breaks off is an error."""
    worker.streams.put([message(1), DRAINING])
    result = cli("events")
    assert result.code == 1
    assert "WORKER_DRAINING" in result.words
    assert len(worker.requests("SessionEvents")) == 1
