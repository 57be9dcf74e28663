"""``gateway-worker simulate``: what people do in a simulator. Running it is tested end to end."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.command_line import Cli
from tests.support.fake_simulator import FakeSimulator, fake_simulator
from tests.support.fake_worker import FakeWorker
from wagateway.simulator.v1 import simulator_pb2
from wagateway.worker.v1 import session_pb2

CONTACT, PHONE = "6281300000001", "6281200000001"


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSimulator]:
    """Serve a fake simulator, which the command line finds by default."""
    file = tmp_path / "simulator.json"
    with fake_simulator(file) as fake:
        monkeypatch.setenv("GATEWAY_SIMULATOR", str(file))
        yield fake


@pytest.mark.parametrize(
    ("arguments", "method", "request_"),
    [
        (
            ["phone", "add", PHONE, "--name", "Budi"],
            "AddPhone",
            simulator_pb2.AddPhoneRequest(number=PHONE, push_name="Budi"),
        ),
        (["phone", "add"], "AddPhone", simulator_pb2.AddPhoneRequest()),
        (["phone", "list"], "ListPhones", simulator_pb2.ListPhonesRequest()),
        (
            ["scan", PHONE, "--code", "https://q"],
            "ScanCode",
            simulator_pb2.ScanCodeRequest(number=PHONE, code="https://q"),
        ),
        (
            ["unlink", PHONE, "--device", "2"],
            "UnlinkDevice",
            simulator_pb2.UnlinkDeviceRequest(number=PHONE, device=2),
        ),
        (["contact", "list"], "ListContacts", simulator_pb2.ListContactsRequest()),
        (
            ["say", CONTACT, PHONE, "Hello"],
            "Say",
            simulator_pb2.SayRequest(contact=CONTACT, phone=PHONE, text="Hello"),
        ),
        (
            ["typing", CONTACT, PHONE],
            "SendTyping",
            simulator_pb2.SendTypingRequest(contact=CONTACT, phone=PHONE, composing=True),
        ),
        (
            ["typing", CONTACT, PHONE, "--stop"],
            "SendTyping",
            simulator_pb2.SendTypingRequest(contact=CONTACT, phone=PHONE),
        ),
        (
            ["receipt", CONTACT, "3EB0", "played"],
            "SendReceipt",
            simulator_pb2.SendReceiptRequest(contact=CONTACT, id="3EB0", kind=simulator_pb2.RECEIPT_KIND_PLAYED),
        ),
        (["inbox", CONTACT], "ListInbox", simulator_pb2.ListInboxRequest(contact=CONTACT)),
        (["inbox", "--follow"], "WatchInbox", simulator_pb2.WatchInboxRequest()),
        (["drop"], "DropConnections", simulator_pb2.DropConnectionsRequest()),
        (["drop", PHONE], "DropConnections", simulator_pb2.DropConnectionsRequest(phone=PHONE)),
        (
            ["stream-error", PHONE, "replaced"],
            "SendStreamError",
            simulator_pb2.SendStreamErrorRequest(phone=PHONE, kind=simulator_pb2.STREAM_ERROR_KIND_REPLACED),
        ),
        (["stats"], "GetStats", simulator_pb2.GetStatsRequest()),
        (["faults", "--clear"], "SetFaults", simulator_pb2.SetFaultsRequest()),
        (
            ["faults", "--phone", PHONE, "--withhold-acks", "--refuse-messages", "463"],
            "SetFaults",
            simulator_pb2.SetFaultsRequest(phone=PHONE, withhold_acks=True, refuse_messages=463),
        ),
        (
            ["faults", "--swallow-messages", "--refuse-logins", "403", "--refuse-connections"],
            "SetFaults",
            simulator_pb2.SetFaultsRequest(swallow_messages=True, refuse_logins=403, refuse_connections=True),
        ),
    ],
)
def test_a_command_is_one_call(
    cli: Cli, simulator: FakeSimulator, arguments: list[str], method: str, request_: Any
) -> None:
    """Each command makes its call with what it was given, and nothing else."""
    assert cli("simulate", *arguments).code == 0
    assert simulator.calls == [(method, request_)]


@pytest.mark.parametrize(
    ("arguments", "behaviour"),
    [
        ([], simulator_pb2.BEHAVIOUR_SILENT),
        (["--echo"], simulator_pb2.BEHAVIOUR_ECHO),
        (["--read"], simulator_pb2.BEHAVIOUR_READ),
        (["--offline"], simulator_pb2.BEHAVIOUR_OFFLINE),
        (["--answer", "a", "--answer", "b"], simulator_pb2.BEHAVIOUR_SCRIPT),
    ],
)
def test_a_contact_behaves_as_asked(
    cli: Cli, simulator: FakeSimulator, arguments: list[str], behaviour: simulator_pb2.Behaviour.ValueType
) -> None:
    """Each option stands for a behaviour; answers are its script."""
    assert cli("simulate", "contact", "add", CONTACT, "--delay", "1.5", *arguments).code == 0
    ((_, request),) = simulator.calls
    assert request.behaviour == behaviour
    assert request.answer_delay.ToMilliseconds() == 1500
    assert list(request.script) == [word for word in arguments if len(word) == 1]


def test_fault_delays_are_exact(cli: Cli, simulator: FakeSimulator) -> None:
    """Fractions of a second arrive, and are said back."""
    result = cli("simulate", "faults", "--ack-delay", "0.25")
    ((_, request),) = simulator.calls
    assert request.ack_delay.ToMilliseconds() == 250
    assert result.words == "ack delay 0.250s, for every phone"


@pytest.mark.parametrize(
    "arguments",
    [
        ["contact", "add", "--echo", "--read"],
        ["contact", "add", "--offline", "--answer", "x"],
        ["scan", PHONE],
        ["scan", PHONE, "--session", "a", "--code", "b"],
        ["say", CONTACT, PHONE],
        ["say", CONTACT, PHONE, "--image", "/nothing/there.jpg"],
        ["receipt", CONTACT, "3EB0", "eaten"],
        ["inbox"],
        ["faults"],
        ["faults", "--clear", "--withhold-acks"],
        ["faults", "--phone", PHONE],
        ["stream-error", PHONE, "bad-weather"],
        ["--file", "x.json", "stats"],
        ["--json", "phone", "list"],
    ],
)
def test_wrong_usage_calls_nothing(cli: Cli, simulator: FakeSimulator, arguments: list[str]) -> None:
    """What does not go together, or is missing, is said before anything happens."""
    result = cli("simulate", *arguments)
    assert result.code == 2
    assert result.err
    assert simulator.calls == []


def test_scanning_a_sessions_code_asks_the_worker_for_it(
    cli: Cli, simulator: FakeSimulator, worker: FakeWorker
) -> None:
    """A person scans what the screen shows: what the session offers now."""
    worker.pairing = session_pb2.Pairing(qr="https://shown")
    result = cli("simulate", "scan", PHONE, "--session", "alpha")
    assert worker.requests("GetPairing")[0].session_id == "alpha"
    assert simulator.calls == [("ScanCode", simulator_pb2.ScanCodeRequest(number=PHONE, code="https://shown"))]
    assert result.out == f"linked as {PHONE}:1@s.whatsapp.net\n"


def test_a_pairing_code_cannot_be_scanned(cli: Cli, simulator: FakeSimulator, worker: FakeWorker) -> None:
    """A code that is typed is nothing for a camera."""
    worker.pairing = session_pb2.Pairing(pairing_code="ABCD-EFGH")
    assert cli("simulate", "scan", PHONE, "--session", "alpha").code == 2
    assert simulator.calls == []


def test_an_image_is_said_with_its_caption(cli: Cli, simulator: FakeSimulator, tmp_path: Path) -> None:
    """The text is the caption when there is an image."""
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"\xff\xd8")
    cli("simulate", "say", CONTACT, PHONE, "Look", "--image", str(file))
    ((_, request),) = simulator.calls
    assert (request.image, request.caption, request.text) == (b"\xff\xd8", "Look", "")


def test_the_inbox_shows_who_wrote_what(cli: Cli, simulator: FakeSimulator) -> None:
    """Senders are shown by number, media by kind and size."""
    simulator.inbox = [
        simulator_pb2.ReceivedMessage(id="A", contact=CONTACT, sender=f"{PHONE}:3@s.whatsapp.net", text="Hello"),
        simulator_pb2.ReceivedMessage(
            id="B",
            contact=CONTACT,
            sender=f"{PHONE}@s.whatsapp.net",
            kind="imageMessage",
            media=bytes(2048),
            text="Look",
        ),
    ]
    shown = cli("simulate", "inbox", CONTACT).words
    assert f"{PHONE} → {CONTACT}: Hello A" in shown
    assert f"{PHONE} → {CONTACT}: [imageMessage, 2 KiB] Look B" in shown
    assert [line["id"] for line in cli("simulate", "inbox", "--follow", "--json").json_lines()] == ["A", "B"]


def test_an_empty_inbox_says_so(cli: Cli, simulator: FakeSimulator) -> None:
    """Nothing is not shown as nothing."""
    assert cli("simulate", "inbox", CONTACT).out == "nothing yet\n"
    assert simulator.calls


def test_phones_are_listed_with_their_devices(cli: Cli, simulator: FakeSimulator) -> None:
    """Linked devices say whether they are online and what waits for them."""
    shown = cli("simulate", "phone", "list").words
    assert f"{PHONE} Budi 1 (online), 2 (offline, 3 queued)" in shown
    assert "6281200000002 none" in shown
    assert simulator.calls


def test_results_as_json(cli: Cli, simulator: FakeSimulator) -> None:
    """Each result is the contract's message."""
    assert cli("simulate", "phone", "add", "--json").json()["number"] == "6281200000009"
    assert cli("simulate", "drop", "--json").json() == {"dropped": 2}
    assert cli("simulate", "stats", "--json").json()["messagesIn"] == "12345"
    assert len(simulator.calls) == 3


def test_a_refusal_of_the_simulator(cli: Cli, simulator: FakeSimulator) -> None:
    """Its errors have a code and a sentence."""
    simulator.refusal = (grpc.StatusCode.ALREADY_EXISTS, "the number is taken")
    result = cli("simulate", "phone", "add", PHONE)
    assert result.code == 1
    assert result.words == "error: the number is taken (ALREADY_EXISTS)"


def test_without_a_file_no_simulator_runs(cli: Cli, tmp_path: Path) -> None:
    """The file is there as long as the simulator is."""
    result = cli("simulate", "stats", "--file", str(tmp_path / "none.json"))
    assert result.code == 3
    assert "start it with: gateway-worker simulate" in result.words


def test_a_simulator_that_is_gone(cli: Cli, tmp_path: Path) -> None:
    """A file may outlive its simulator, when that was killed."""
    file = tmp_path / "simulator.json"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        file.write_text(f'{{"control": "127.0.0.1:{taken.getsockname()[1]}"}}')
        result = cli("simulate", "stats", "--file", str(file))
    assert result.code == 3
    assert "cannot reach the simulator" in result.words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not JSON", "it is no JSON"),
        ('{"proxy": "http://127.0.0.1:1"}', 'names no control API ("control")'),
        ('{"control": 7}', "names no control API"),
        ("[]", "names no control API"),
    ],
)
def test_a_file_of_another_kind(cli: Cli, tmp_path: Path, content: str, words: str) -> None:
    """A file that was not written by our simulator is not guessed at."""
    file = tmp_path / "simulator.json"
    file.write_text(content)
    result = cli("simulate", "stats", "--file", str(file))
    assert result.code == 2
    assert words in result.words


def test_a_gateway_without_the_simulators_extra_says_what_to_install(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the simulator needs is an extra of the package."""
    monkeypatch.setitem(sys.modules, "gateway_worker.simulator.runner", None)
    result = cli("simulate", "run", "--file", str(tmp_path / "simulator.json"))
    assert result.code == 2
    assert "pip install 'gateway-worker[simulator]'" in result.words
