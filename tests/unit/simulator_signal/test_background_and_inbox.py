"""Tasks that fail alone, and inboxes that do not grow for ever."""

from __future__ import annotations

import asyncio

import pytest

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import DeviceAddress
from gateway_worker.simulator.players import inbox
from gateway_worker.simulator.players.background import Background
from gateway_worker.simulator.players.device import Arrival, Incoming
from gateway_worker.waproto import e2e


async def test_a_failing_task_is_logged_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Its name and its error are in the log; the others go on until they are closed."""
    background = Background()
    ended = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("boom")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    background.spawn(wait(), name="patient")
    background.spawn(fail(), name="clumsy")
    await asyncio.sleep(0.01)
    assert "clumsy" in caplog.text
    assert "boom" in caplog.text
    assert not ended.is_set()
    await background.aclose()
    assert ended.is_set()


def _incoming(number: int) -> Incoming:
    arrival = Arrival(f"M{number}", DeviceAddress("6281200000001", "1", 1), Node("message"))
    message = e2e.Message(conversation=str(number))
    return Incoming(arrival, message.SerializeToString(), message)


def test_the_oldest_messages_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest are gone, for lists, receipts and duplicates alike."""
    monkeypatch.setattr(inbox, "MAX_MESSAGES", 3)
    box = inbox.Inbox("6281200000002")
    for number in range(5):
        box.add(_incoming(number), b"")
    assert [message.text for message in box] == ["2", "3", "4"]
    assert box.find("M1") is None
    assert box.find("M4") is not None
    assert not box.add(_incoming(0), b"").duplicate
    assert box.add(_incoming(4), b"").duplicate
