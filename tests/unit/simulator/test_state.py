"""Small parts: mailboxes, faults, settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_worker.simulator import mailbox as mailbox_module
from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.faults import Faults, FaultTable
from gateway_worker.simulator.mailbox import Mailbox
from gateway_worker.simulator.settings import SimulatorSettings


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=40))
def test_a_mailbox_keeps_what_was_not_settled_in_order(steps: list[tuple[bool, str]]) -> None:
    """Each acknowledgement settles the oldest stanza of its id, and only one."""
    mailbox, model = Mailbox(), list[tuple[str, int]]()
    for number, (put, stanza_id) in enumerate(steps):
        if put:
            mailbox.put(Node("message", {"id": stanza_id, "number": str(number)}))
            model.append((stanza_id, number))
        else:
            oldest = next((item for item in model if item[0] == stanza_id), None)
            assert mailbox.settle("message", stanza_id) is (oldest is not None)
            if oldest is not None:
                model.remove(oldest)
        assert not mailbox.settle("receipt", stanza_id)
    assert [int(node.attrs["number"]) for _, node in mailbox.after(-1)] == [number for _, number in model]
    assert len(mailbox) == len(model)


def test_a_full_mailbox_loses_the_oldest(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody's absence fills the memory; what is lost is named."""
    monkeypatch.setattr(mailbox_module, "CAPACITY", 2)
    mailbox = Mailbox()
    for number in range(3):
        mailbox.put(Node("message", {"id": f"m{number}"}))

    assert [node.attrs["id"] for _, node in mailbox.after(-1)] == ["m1", "m2"]
    assert "<message> m0 is lost" in caplog.text


def test_faults_of_a_phone_and_of_all() -> None:
    """A phone's own faults go before those for all, until those are set anew."""
    table = FaultTable()
    table.set("1", Faults(refuse_messages=463))
    assert (table.of("1").refuse_messages, table.of("2")) == (463, Faults())
    table.set("", Faults(withhold_acks=True))
    assert table.of("1") == table.of("2") == table.general == Faults(withhold_acks=True)


@pytest.mark.parametrize(
    "faults",
    [Faults(ack_delay=-1), Faults(ack_delay=601), Faults(refuse_messages=399), Faults(refuse_logins=1000)],
)
def test_wrong_faults_are_refused(faults: Faults) -> None:
    """A value outside what is accepted is refused, and what was in force stays."""
    table = FaultTable()
    with pytest.raises(InvalidError, match=r"ack_delay is|is 0 or a code from 400"):
        table.set("", faults)
    assert table.general == Faults()


def test_connections_are_refused_for_all_or_none() -> None:
    """Before the handshake nobody knows whose connection it is."""
    with pytest.raises(InvalidError, match="for all phones"):
        FaultTable().set("1", Faults(refuse_connections=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1),
        ("control_port", 65536),
        ("ref_lifetimes", ()),
        ("ref_lifetimes", (60.0, 0.0)),
        ("ref_grace", -1.0),
        ("link_timeout", 0.0),
        ("idle_timeout", -5.0),
        ("media_budget", 0),
    ],
)
def test_wrong_settings_are_named(name: str, value: Any) -> None:
    """The refusal names the setting."""
    settings = dataclasses.replace(SimulatorSettings(file=Path("x")), **{name: value})
    with pytest.raises(InvalidError, match=name):
        settings.validate()
