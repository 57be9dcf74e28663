"""Events, states and sizes in a person's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway_worker.cli.describe import event_line
from gateway_worker.cli.wording import (
    ago,
    clock,
    content_words,
    reason_words,
    size_words,
    state_words,
    ticks,
    user_words,
)
from wagateway.worker.v1 import content_pb2, event_pb2, session_pb2

USER = event_pb2.User(phone_number="+6281300000001", id="1@lid")
NOW = datetime(2031, 2, 3, 12, 0, tzinfo=UTC)


def status(
    state: session_pb2.SessionState.ValueType,
    reason: session_pb2.StateReason.ValueType = session_pb2.STATE_REASON_UNSPECIFIED,
) -> session_pb2.SessionStatus:
    """A state with its reason."""
    return session_pb2.SessionStatus(state=state, reason=reason)


CASES = [
    (
        event_pb2.Event(
            session_state=event_pb2.SessionStateChanged(
                status=status(session_pb2.SESSION_STATE_RECONNECTING, session_pb2.STATE_REASON_ENGINE_LOST),
                previous=session_pb2.SESSION_STATE_CONNECTED,
            )
        ),
        "connected → reconnecting · its engine process died or is being replaced",
    ),
    (
        event_pb2.Event(session_state=event_pb2.SessionStateChanged(status=status(session_pb2.SESSION_STATE_CREATED))),
        "created",
    ),
    (
        event_pb2.Event(paired=event_pb2.SessionPaired(account=session_pb2.Account(phone_number="+62812"))),
        "linked to +62812",
    ),
    (
        event_pb2.Event(
            message=event_pb2.MessageReceived(
                chat="1@g.us",
                group=True,
                sender=USER,
                content=content_pb2.Content(
                    image=content_pb2.ImageContent(caption="Look", info=content_pb2.MediaInfo(size=2048))
                ),
            )
        ),
        "← +6281300000001 in 1@g.us: [image, 2 KiB] Look",
    ),
    (
        event_pb2.Event(
            message=event_pb2.MessageReceived(
                from_me=True,
                content=content_pb2.Content(unknown=content_pb2.UnknownContent(kind="pollCreationMessage")),
            )
        ),
        "→ own device: [pollCreationMessage]",
    ),
    (
        event_pb2.Event(
            message_status=event_pb2.MessageStatusChanged(message_id="3EB0", status=event_pb2.MESSAGE_STATUS_READ)
        ),
        "✓✓ read 3EB0",
    ),
    (
        event_pb2.Event(
            message_status=event_pb2.MessageStatusChanged(
                message_id="3EB0", status=event_pb2.MESSAGE_STATUS_FAILED, failure_reason="ACCOUNT_RESTRICTED"
            )
        ),
        "✗ failed 3EB0 ACCOUNT_RESTRICTED",
    ),
    (
        event_pb2.Event(undecryptable=event_pb2.MessageUndecryptable(sender=USER)),
        "← +6281300000001: cannot be decrypted, the sender was asked again",
    ),
    (
        event_pb2.Event(undecryptable=event_pb2.MessageUndecryptable(sender=USER, unavailable=True)),
        "← +6281300000001: cannot be decrypted, WhatsApp withholds it from linked devices",
    ),
    (event_pb2.Event(deleted=event_pb2.SessionDeleted()), "session deleted"),
    (
        event_pb2.Event(
            snapshot=event_pb2.SessionSnapshot(
                session=session_pb2.Session(status=status(session_pb2.SESSION_STATE_CONNECTED))
            )
        ),
        "is connected",
    ),
    (event_pb2.Event(pairing=event_pb2.PairingOffered()), "the code is no longer valid"),
    (
        event_pb2.Event(chat_presence=event_pb2.ChatPresence(sender=USER, activity=event_pb2.CHAT_ACTIVITY_RECORDING)),
        "+6281300000001 recording",
    ),
    (event_pb2.Event(presence=event_pb2.Presence(user=USER, online=True)), "+6281300000001 online"),
    (event_pb2.Event(), "[of a newer contract]"),
]


@pytest.mark.parametrize(("event", "words"), CASES, ids=lambda case: case if isinstance(case, str) else None)
def test_an_event_as_a_line(event: event_pb2.Event, words: str) -> None:
    """An event as a line."""
    event.session_id, event.sequence = "alpha", 7
    event.time.GetCurrentTime()
    assert event_line(event).plain.endswith(f" alpha #7    {words}")


def test_every_kind_of_event_has_a_case() -> None:
    """So a kind that is added to the contract is not shown as one of a newer contract."""
    kinds = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert {event.WhichOneof("kind") for event, _ in CASES} == kinds | {None}


def test_a_code_is_not_part_of_the_line_because_it_is_a_secret() -> None:
    """A code is not part of the line because it is a secret."""
    offered = event_pb2.PairingOffered(pairing=session_pb2.Pairing(qr="https://secret", pairing_code=""))
    offered.pairing.qr = "https://secret"
    line = event_line(event_pb2.Event(session_id="alpha", pairing=offered)).plain
    assert "live" in line
    assert "QR code offered until" in line
    assert "secret" not in line


def test_every_state_reason_has_words() -> None:
    """Every state reason has words."""
    for name, value in session_pb2.StateReason.items():
        assert "reason" not in reason_words(value), name


def test_every_message_status_has_ticks() -> None:
    """Every message status has ticks."""
    for name, value in event_pb2.MessageStatus.items():
        assert (ticks(value)[0] == "?") == (name == "MESSAGE_STATUS_UNSPECIFIED"), name


def test_values_of_a_newer_contract_are_shown_by_number() -> None:
    """Values of a newer contract are shown by number."""
    unknown: session_pb2.SessionState.ValueType = session_pb2.Session(
        status=session_pb2.SessionStatus.FromString(b"\x08\x63")
    ).status.state
    assert state_words(unknown) == "state 99"
    assert reason_words(99) == "reason 99"
    assert ticks(99)[1] == "status 99"


def test_content_of_a_newer_contract_says_so() -> None:
    """Content of a newer contract says so."""
    assert content_words(content_pb2.Content()) == "[a kind of a newer contract]"


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (1023, "1.02e+03 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (5 << 30, "5 GiB")]
)
def test_sizes(size: int, words: str) -> None:
    """Sizes."""
    assert size_words(size) == words


def test_users_are_named_by_the_best_that_is_known() -> None:
    """Users are named by the best that is known."""
    assert user_words(USER, "Siti") == "+6281300000001 (Siti)"
    assert user_words(event_pb2.User(id="1@lid")) == "1@lid"
    assert user_words(event_pb2.User()) == "somebody"


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=23), "23 h"),
        (timedelta(days=9), "9 d"),
    ],
)
def test_how_long_ago(before: timedelta, words: str) -> None:
    """How long ago."""
    time = Timestamp()
    time.FromDatetime(NOW - before)
    assert ago(time, now=NOW) == words


def test_an_unset_time_is_not_half_a_century_ago() -> None:
    """An unset time is not half a century ago."""
    assert ago(Timestamp(), now=NOW) == ""


def test_the_clock_shows_the_date_of_another_day() -> None:
    """The clock shows the date of another day."""
    time = Timestamp()
    time.FromDatetime(NOW)
    assert clock(time, now=NOW) == "12:00:00"
    assert clock(time, now=NOW + timedelta(days=1)) == "2031-02-03 12:00:00"
