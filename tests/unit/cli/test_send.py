"""``gateway-worker send``."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gateway_worker.cli.commands.send import MAX_IMAGE_BYTES
from tests.support.command_line import Cli
from tests.support.fake_worker import FakeWorker
from wagateway.worker.v1 import content_pb2, worker_pb2


def test_text_is_sent_and_answered_with_its_id(cli: Cli, worker: FakeWorker) -> None:
    """Text is sent and answered with its id."""
    result = cli("send", "text", "alpha", "+6281300000001", "Hello *you*")
    assert result.code == 0
    assert "✓ sent to 6281300000001@s.whatsapp.net as 3EB0C0FFEE" in result.out
    (request,) = worker.requests("SendText")
    assert request == worker_pb2.SendTextRequest(
        session_id="alpha",
        to="+6281300000001",
        text=content_pb2.TextContent(text="Hello *you*"),
        options=content_pb2.SendOptions(),
    )


def test_options_are_passed_on(cli: Cli, worker: FakeWorker) -> None:
    """Options are passed on."""
    cli(
        *("send", "text", "alpha", "+6281300000001", "hi"),
        *("--idempotency-key", "order-7", "--human", "--quote", "3EB0AAAA"),
    )
    (request,) = worker.requests("SendText")
    assert request.options == content_pb2.SendOptions(
        idempotency_key="order-7",
        quoted=content_pb2.QuotedMessage(message_id="3EB0AAAA"),
        human=content_pb2.HumanSimulation(),
    )
    assert request.options.HasField("human")


def test_a_dash_reads_the_text_from_standard_input(
    cli: Cli, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dash reads the text from standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO("line 1\nline 2\n"))
    cli("send", "text", "alpha", "+6281300000001", "-")
    assert worker.requests("SendText")[0].text.text == "line 1\nline 2\n"


def test_the_answer_as_json(cli: Cli, worker: FakeWorker) -> None:
    """The answer as JSON."""
    document = cli("send", "text", "alpha", "+6281300000001", "hi", "--json").json()
    assert document["id"] == "3EB0C0FFEE"
    assert document["status"] == "MESSAGE_STATUS_SERVER_ACK"
    assert document["repeatedCall"] is False
    assert len(worker.requests("SendText")) == 1


def test_an_image_is_sent_with_its_bytes_and_caption(cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    """An image is sent with its bytes and caption."""
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"\xff\xd8 not looked into here")
    result = cli("send", "image", "alpha", "+6281300000001", str(file), "--caption", "Look")
    assert result.code == 0
    (request,) = worker.requests("SendImage")
    assert request.image.source.inline == file.read_bytes()
    assert request.image.caption == "Look"


def test_a_missing_file_is_wrong_usage(cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    """A missing file is wrong usage."""
    result = cli("send", "image", "alpha", "+6281300000001", str(tmp_path / "none.jpg"))
    assert result.code == 2
    assert "cannot read" in result.words
    assert "No such file or directory" in result.words
    assert worker.calls == []


def test_an_empty_file_is_wrong_usage(cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    """An empty file is wrong usage."""
    file = tmp_path / "empty.jpg"
    file.touch()
    result = cli("send", "image", "alpha", "+6281300000001", str(file))
    assert (result.code, worker.calls) == (2, [])
    assert "is empty" in result.words


def test_a_file_beyond_the_limit_is_not_even_read(cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    """A file beyond the limit is not even read."""
    file = tmp_path / "large.jpg"
    with file.open("wb") as sparse:
        sparse.truncate(MAX_IMAGE_BYTES + 1)
    result = cli("send", "image", "alpha", "+6281300000001", str(file))
    assert (result.code, worker.calls) == (2, [])
    assert "may have 16 MiB" in result.words


def test_a_file_at_the_limit_fits_through(cli: Cli, worker: FakeWorker, tmp_path: Path) -> None:
    """A file at the limit fits through."""
    file = tmp_path / "largest.jpg"
    file.write_bytes(bytes(MAX_IMAGE_BYTES // 8))
    assert cli("send", "image", "alpha", "+6281300000001", str(file)).code == 0
    assert len(worker.requests("SendImage")[0].image.source.inline) == MAX_IMAGE_BYTES // 8
