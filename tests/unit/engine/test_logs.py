"""What gets into the log, and how."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from gateway_worker.engine.logs import JsonLines, log_library, render
from gateway_worker.engine.redaction import redact
from gateway_worker.waproto import neonize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Successfully paired 6281200000001:3@s.whatsapp.net", "Successfully paired ***********01:3@s.whatsapp.net"),
        ("got 12345 in 3 s", "got 12345 in 3 s"),
        ('Unknown stream error: <stream:error code="515"/>', "Unknown stream error: <stream:error>"),
        (
            'Node took long: <message from="62@s.whatsapp.net" notify="Ratna"><enc v="2">abcdef</enc></message>',
            "Node took long: <message><enc>***</enc></message>",
        ),
        ("key 142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b", "key ***"),
        ("Failed to send 3EB01BE1FBCAC6A3C85597: a < b > c", "Failed to send 3EB01BE1FBCAC6A3C85597: a < b > c"),
    ],
)
def test_what_could_identify_somebody_is_masked(text: str, expected: str) -> None:
    """Numbers, names, keys and stanzas are not in the log; what happened is."""
    assert redact(text) == expected


def test_a_record_is_one_line_of_json(tmp_path: Path) -> None:
    """Level, logger, message and session, with line breaks escaped and the text redacted."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    logger = logging.getLogger("some.module")
    handler = JsonLines(descriptor)
    logger.addHandler(handler)
    logger.warning("first\nsecond 6281200000001", extra={"session": "s"})
    try:
        int("number 6281200000001")
    except ValueError:
        logger.exception("it failed")
    logger.removeHandler(handler)
    os.close(descriptor)
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "level": "WARNING",
        "logger": "some.module",
        "message": "first\nsecond ***********01",
        "session": "s",
    }
    assert second["message"].startswith("it failed\nTraceback")
    assert second["message"].endswith("'number ***********01'")


def test_the_librarys_log_keeps_its_levels(caplog: pytest.LogCaptureFixture) -> None:
    """What the client library logs appears under its name, with the session it is about."""
    entry = neonize.LogEntry(Message="Got 515 code, reconnecting...", Level="WARN", Name="Client")
    with caplog.at_level(logging.DEBUG):
        log_library("s", entry.SerializeToString())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("whatsmeow", logging.WARNING)
    assert json.loads(render(record)) == {
        "level": "WARNING",
        "logger": "whatsmeow",
        "message": "Client: Got 515 code, reconnecting...",
        "session": "s",
    }
