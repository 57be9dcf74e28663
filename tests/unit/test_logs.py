"""Logs: one line a record, without phone numbers."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_worker.telemetry.logs import redact, set_up_logging


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("call +6281200000101 now", "call ***01 now"),
        ("6281200000001:3@s.whatsapp.net", "***01:3@s.whatsapp.net"),
        ("200000000000001@lid", "***01@lid"),
        ("message 3EB0429A5B808C6F5E9767 of p1f", "message 3EB0429A5B808C6F5E9767 of p1f"),
        ("2026-11-22T09:00:00.123456 took 0.1234567 s", "2026-11-22T09:00:00.123456 took 0.1234567 s"),
    ],
)
def test_numbers_are_masked_and_the_rest_stays(text: str, shown: str) -> None:
    """Two digits stay, to tell one number from another."""
    assert redact(text) == shown


@given(st.integers(min_value=10**7, max_value=10**15), st.sampled_from(["{}", "+{}", "<{}>", "to {}@lid,", "'{}'"]))
def test_no_number_survives(number: int, frame: str) -> None:
    """However it is written into a sentence."""
    assert str(number) not in redact(frame.format(number))


@pytest.mark.usefixtures("restored")
def test_json_is_one_object_a_line_redacted_in_traces_too() -> None:
    """Machines read it line by line."""
    stream = io.StringIO()
    set_up_logging("INFO", "json", stream)
    try:
        int("bad 6281200000101")
    except ValueError:
        logging.getLogger("gateway_worker.test").exception("line one\nfor 6281200000101")
    logging.getLogger("gateway_worker.test").debug("not at this level")
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert (document["level"], document["logger"]) == ("ERROR", "gateway_worker.test")
    assert document["message"] == "line one\nfor ***01"
    assert "6281200000101" not in line


@pytest.mark.usefixtures("restored")
def test_console_lines_are_short() -> None:
    """People read the end of a name and the time of day."""
    stream = io.StringIO()
    set_up_logging("INFO", "console", stream)
    logging.getLogger("gateway_worker.sessions.actor").info("session %s: CONNECTED", "shop")
    assert stream.getvalue()[8:] == " INFO    sessions.actor: session shop: CONNECTED\n"
