"""``gateway-worker pair``."""

from __future__ import annotations

import io
import re
import threading
import time
from datetime import UTC, timedelta
from pathlib import Path

import grpc
import pytest
from rich.console import Console

from gateway_worker.cli.pairing.views import LiveView, time_left
from gateway_worker.cli.qr import draw
from tests.support.command_line import Cli
from tests.support.fake_worker import FakeWorker, Refuse, StreamItem
from wagateway.worker.v1 import event_pb2, session_pb2, worker_pb2

PHONE = "+6281200000001"
PAIRING = session_pb2.SESSION_STATE_PAIRING
CONNECTED = session_pb2.SESSION_STATE_CONNECTED


def snapshot(
    state: session_pb2.SessionState.ValueType, *, pairing: session_pb2.Pairing | None = None, phone: str = ""
) -> event_pb2.Event:
    """Return what a stream says as it opens."""
    session = session_pb2.Session(id="alpha", status=session_pb2.SessionStatus(state=state))
    if phone:
        session.account.phone_number = phone
    return event_pb2.Event(session_id="alpha", snapshot=event_pb2.SessionSnapshot(session=session, pairing=pairing))


def code(qr: str = "", *, pairing_code: str = "", png: bytes = b"") -> session_pb2.Pairing:
    """Return a code, valid for 20 s."""
    pairing = session_pb2.Pairing(qr=qr, png=png) if qr else session_pb2.Pairing(pairing_code=pairing_code)
    pairing.expire_time.FromSeconds(int(time.time()) + 20)
    return pairing


def offered(pairing: session_pb2.Pairing | None) -> event_pb2.Event:
    """Return the event that offers a code, or withdraws it."""
    return event_pb2.Event(session_id="alpha", pairing=event_pb2.PairingOffered(pairing=pairing))


def state(
    now: session_pb2.SessionState.ValueType,
    reason: session_pb2.StateReason.ValueType = session_pb2.STATE_REASON_UNSPECIFIED,
) -> event_pb2.Event:
    """Return the event of a change of state."""
    status = session_pb2.SessionStatus(state=now, reason=reason)
    return event_pb2.Event(session_id="alpha", session_state=event_pb2.SessionStateChanged(status=status))


def paired() -> event_pb2.Event:
    """Return the event of a link."""
    account = session_pb2.Account(phone_number=PHONE)
    return event_pb2.Event(session_id="alpha", paired=event_pb2.SessionPaired(account=account))


LINKING: list[StreamItem] = [
    state(session_pb2.SESSION_STATE_CONNECTING, session_pb2.STATE_REASON_LINKED),
    paired(),
    state(CONNECTED),
]


def test_draws_the_code_and_ends_when_linked(cli: Cli, worker: FakeWorker) -> None:
    """Draws the code, says how linking goes on, and ends with 0 when the session is linked and connected."""
    worker.add_session("alpha", CONNECTED, phone=PHONE)
    worker.streams.put([snapshot(PAIRING), worker_pb2.Heartbeat(), offered(code("https://one")), *LINKING])
    result = cli("pair", "alpha")
    assert result.code == 0
    assert "█" in result.out
    assert "valid for" in result.out
    assert "✓ alpha is linked to +6281200000001 (Budi), connected" in result.words


def test_connects_once_the_stream_is_open(cli: Cli, worker: FakeWorker) -> None:
    """No code can fall between the call and the stream: the stream is opened first."""
    worker.add_session("alpha", CONNECTED, phone=PHONE)
    worker.streams.put([snapshot(session_pb2.SESSION_STATE_CREATED), offered(code("https://one")), *LINKING])
    cli("pair", "alpha")
    names = [name for name, _ in worker.calls]
    assert names.index("SessionEvents") < names.index("ConnectSession")
    assert "CreateSession" not in names
    (request,) = worker.requests("SessionEvents")
    assert event_pb2.EVENT_KIND_SNAPSHOT in request.kinds
    assert event_pb2.EVENT_KIND_PAIRING in request.kinds


def test_a_code_that_is_valid_already_is_drawn_at_once(cli: Cli, worker: FakeWorker) -> None:
    """A session that waits for a scan shows the code it has."""
    worker.add_session("alpha", CONNECTED, phone=PHONE)
    worker.streams.put([snapshot(PAIRING, pairing=code("https://present")), *LINKING])
    assert cli("pair", "alpha", "--json").json_lines()[0]["pairing"]["qr"] == "https://present"


def test_each_renewed_code_is_a_line_of_json_and_the_session_the_last(cli: Cli, worker: FakeWorker) -> None:
    """Programs get each code as GetPairing answers it, then the session."""
    worker.add_session("alpha", CONNECTED, phone=PHONE)
    worker.streams.put(
        [snapshot(PAIRING), offered(code("https://one")), offered(None), offered(code("https://two")), *LINKING]
    )
    first, second, session = cli("pair", "alpha", "--json").json_lines()
    assert [first["pairing"]["qr"], second["pairing"]["qr"]] == ["https://one", "https://two"]
    assert session["account"]["phoneNumber"] == PHONE


def test_a_linked_session_is_only_connected(cli: Cli, worker: FakeWorker) -> None:
    """A session that is linked needs no scan; the command waits until it is connected."""
    worker.add_session("alpha", session_pb2.SESSION_STATE_DISCONNECTED, phone=PHONE)
    worker.streams.put([snapshot(session_pb2.SESSION_STATE_DISCONNECTED, phone=PHONE), state(CONNECTED)])
    result = cli("pair", "alpha")
    assert result.code == 0
    assert "already linked to +6281200000001" in result.words
    assert len(worker.requests("ConnectSession")) == 1


def test_a_connected_session_ends_it_at_once(cli: Cli, worker: FakeWorker) -> None:
    """There is nothing to wait for."""
    worker.add_session("alpha", CONNECTED, phone=PHONE)
    worker.streams.put([snapshot(CONNECTED, phone=PHONE)])
    assert cli("pair", "alpha").code == 0


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (session_pb2.STATE_REASON_PAIRING_TIMED_OUT, "every code ran out without a scan run the command again"),
        (session_pb2.STATE_REASON_PASSKEY_REQUIRED, "demands a passkey"),
        (session_pb2.STATE_REASON_MULTIDEVICE_DISABLED, "update WhatsApp on the phone"),
    ],
)
def test_linking_that_ends_without_a_link_says_why(
    cli: Cli, worker: FakeWorker, reason: session_pb2.StateReason.ValueType, words: str
) -> None:
    """Each way in which linking fails has its words, and exit code 4."""
    worker.add_session("alpha")
    end = state(session_pb2.SESSION_STATE_DISCONNECTED, reason)
    worker.streams.put([snapshot(PAIRING), offered(code("https://one")), end])
    result = cli("pair", "alpha")
    assert result.code == 4
    assert words in result.words


def test_a_session_deleted_meanwhile(cli: Cli, worker: FakeWorker) -> None:
    """Somebody else may delete the session."""
    worker.add_session("alpha")
    worker.streams.put([snapshot(PAIRING), event_pb2.Event(session_id="alpha", deleted=event_pb2.SessionDeleted())])
    result = cli("pair", "alpha")
    assert result.code == 4
    assert "deleted meanwhile" in result.words


def test_a_timeout_ends_it(cli: Cli, worker: FakeWorker) -> None:
    """Who cannot wait until the codes run out says how long to wait."""
    worker.add_session("alpha")
    worker.streams.put([snapshot(PAIRING), offered(code("https://one")), 30.0])
    result = cli("pair", "alpha", "--timeout", "0.3")
    assert result.code == 4
    assert "no phone linked the session within 0.3 s" in result.words


def test_a_stream_that_the_worker_ends(cli: Cli, worker: FakeWorker) -> None:
    """A worker that goes away while a phone is looked for is no silent success."""
    worker.add_session("alpha")
    worker.streams.put([snapshot(PAIRING), None])
    assert cli("pair", "alpha").code == 3


def test_an_unknown_session_is_not_created_unasked(cli: Cli, worker: FakeWorker) -> None:
    """A typing error does not make a session."""
    result = cli("pair", "nope")
    assert result.code == 1
    assert "SESSION_NOT_FOUND" in result.words
    assert worker.sessions == {}


@pytest.mark.parametrize("exists", [False, True])
def test_create_makes_the_session_unless_it_exists(cli: Cli, worker: FakeWorker, *, exists: bool) -> None:
    """The option states what is to be there, not what was not."""
    if exists:
        worker.add_session("alpha")
    worker.streams.put([snapshot(CONNECTED, phone=PHONE)])
    assert cli("pair", "alpha", "--create").code == 0
    assert list(worker.sessions) == ["alpha"]
    assert len(worker.requests("CreateSession")) == 1


def test_create_passes_another_refusal_on(cli: Cli, worker: FakeWorker) -> None:
    """Only that it exists is no error."""
    worker.refusals["CreateSession"] = Refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert cli("pair", "alpha", "--create").code == 1
    assert worker.requests("ConnectSession") == []


def test_a_pairing_code_is_shown_to_be_typed(cli: Cli, worker: FakeWorker) -> None:
    """Linking by code asks with the number, and shows what to type."""
    worker.add_session("alpha", CONNECTED, phone=PHONE)
    worker.streams.put([snapshot(PAIRING), offered(code(pairing_code="ABCD-EFGH")), *LINKING])
    result = cli("pair", "alpha", "--code", PHONE)
    assert "ABCD-EFGH" in result.out
    assert "█" not in result.out
    assert worker.requests("ConnectSession")[0].pairing_phone_number == PHONE


@pytest.mark.parametrize(
    ("arguments", "present", "expected"),
    [
        (["--code", PHONE], code("https://one"), 1),
        (["--code", PHONE], code(pairing_code="ABCD-EFGH"), 1),
        ([], code(pairing_code="ABCD-EFGH"), 1),
        ([], code("https://one"), 0),
    ],
)
def test_an_offer_of_the_other_kind_is_ended_first(
    cli: Cli, worker: FakeWorker, arguments: list[str], present: session_pb2.Pairing, expected: int
) -> None:
    """Connecting a session that is on its way changes nothing, so it is stopped when another kind of code is wanted."""
    worker.add_session("alpha", PAIRING)
    worker.pairing = present
    worker.streams.put([snapshot(CONNECTED, phone=PHONE)])
    assert cli("pair", "alpha", *arguments).code == 0
    assert len(worker.requests("DisconnectSession")) == expected


def test_no_code_at_all_is_no_offer_to_end(cli: Cli, worker: FakeWorker) -> None:
    """Linking may have ended between two calls."""
    worker.add_session("alpha", PAIRING)
    worker.refusals["GetPairing"] = Refuse(grpc.StatusCode.FAILED_PRECONDITION, "NOT_PAIRING")
    worker.streams.put([snapshot(CONNECTED, phone=PHONE)])
    assert cli("pair", "alpha").code == 0
    assert worker.requests("DisconnectSession") == []


def test_the_png_is_kept_while_it_is_valid(cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    """The file holds the code now valid, for its owner only, and is gone afterwards."""
    worker.add_session("alpha", CONNECTED, phone=PHONE)
    file, seen = tmp_path / "qr.png", list[bytes]()
    worker.streams.put(
        [snapshot(PAIRING), offered(code("a", png=b"1")), 0.5, offered(code("b", png=b"2")), 0.5, *LINKING]
    )
    modes = set[int]()

    def watch() -> None:
        ends = time.monotonic() + 30
        while len(seen) < 2 and time.monotonic() < ends:
            if file.exists() and (content := file.read_bytes()) not in seen:
                seen.append(content)
                modes.add(file.stat().st_mode & 0o777)
            time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    result = cli("pair", "alpha", "--png", str(file))
    watching.join()
    assert result.code == 0
    assert seen == [b"1", b"2"]
    assert modes == {0o600}
    assert list(tmp_path.iterdir()) == []


def test_a_png_that_cannot_be_written_is_wrong_usage(cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    """A folder that does not exist is named."""
    worker.add_session("alpha")
    worker.streams.put([snapshot(PAIRING), offered(code("a", png=b"1")), 30.0])
    result = cli("pair", "alpha", "--png", str(tmp_path / "none" / "qr.png"))
    assert result.code == 2
    assert "cannot write" in result.words


class Screen:
    """A terminal of a height, and what is on it in the end.

    It understands what a live view writes: carriage return, line feed, cursor up, erase line; colours are left out.
    """

    def __init__(self, height: int) -> None:
        self._file = io.StringIO()
        self.console = Console(
            file=self._file,
            force_terminal=True,
            color_system="truecolor",
            width=80,
            height=height,
            legacy_windows=False,
        )

    @property
    def lines(self) -> list[str]:
        """The lines on it, without the blank ones."""
        lines, row = [""], 0
        for part in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self._file.getvalue()):
            if part == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif part == "\x1b[1A":
                row -= 1
            elif part == "\x1b[2K":
                lines[row] = ""
            elif part[0] not in "\r\x1b":
                lines[row] += part
        return [line for line in lines if line.strip()]


def drawing(qr: str, console: Console) -> list[str]:
    """Return the lines of a code, without the blank ones of its quiet zone."""
    return [row for row in draw(qr, console).rows if row.strip()]


def test_a_terminal_shows_one_code_at_a_time_and_none_in_the_end() -> None:
    """The live view draws in place, and leaves no secret on the screen."""
    screen = Screen(height=50)
    with LiveView(screen.console) as view:
        view.progress("asking")
        assert screen.lines == ["asking …"]
        for qr in ("https://one", "https://two"):
            view.offer(code(qr))
            view.tick()
            heading, *drawn, countdown = screen.lines
            assert heading.startswith("On the phone: WhatsApp")
            assert drawn == drawing(qr, screen.console)
            assert countdown.startswith("valid for ")
        view.withdraw()
        view.progress("linked")
        assert screen.lines == ["linked …"]
    assert screen.lines == []


def test_a_window_that_is_too_low_gets_the_code_whole() -> None:
    """A live view would cut it off: it is printed instead, and scrolls."""
    screen = Screen(height=10)
    with LiveView(screen.console) as view:
        view.offer(code("https://one"))
        view.tick()
    assert screen.lines[1:] == drawing("https://one", screen.console)


def test_time_left_counts_down_to_the_next_code() -> None:
    """After the code's end the next one is waited for."""
    pairing = code("https://one")
    expires = pairing.expire_time.ToDatetime(tzinfo=UTC)
    assert time_left(pairing, expires - timedelta(seconds=7)) == "valid for 7 s"
    assert time_left(pairing, expires + timedelta(seconds=1)) == "waiting for the next code"
