"""Recipients as people write them."""

from __future__ import annotations

import pytest

from gateway_worker.domain.errors import InvalidRecipientError
from gateway_worker.domain.recipients import RecipientKind, e164_of, parse_recipient

PHONE = "6287733760363@s.whatsapp.net"


@pytest.mark.parametrize(
    "text",
    [
        "+6287733760363",
        "6287733760363",
        "087733760363",
        "87733760363",
        "006287733760363",
        "+62 877-3376-0363",
        "(0877) 3376.0363",
        " +62\u00a0877\u20113376\u20110363 ",
        "6287733760363@s.whatsapp.net",
        "6287733760363@c.us",
        "6287733760363:17@s.whatsapp.net",
    ],
)
def test_every_form_of_a_number_is_the_same_recipient(text: str) -> None:
    """International, with and without plus, local with and without zero, and JIDs with a device part."""
    recipient = parse_recipient(text, region="ID")
    assert (recipient.jid, recipient.kind) == (PHONE, RecipientKind.USER)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("200000000000001@lid", RecipientKind.LID),
        ("120363000000000001@g.us", RecipientKind.GROUP),
        ("6281200000001-1600000000@g.us", RecipientKind.GROUP),
        ("120363000000000001@newsletter", RecipientKind.NEWSLETTER),
        ("status@broadcast", RecipientKind.STATUS),
    ],
)
def test_other_jids_stay_as_they_are(text: str, kind: RecipientKind) -> None:
    """JIDs that are no phone numbers pass through."""
    recipient = parse_recipient(text, region="ID")
    assert (recipient.jid, recipient.kind) == (text, kind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "+",
        "+62",
        "0",
        "12345",
        "+999123456789",
        "+62877337603630000000",
        "a@s.whatsapp.net",
        "123@example.com",
        "6287733760363@s.whatsapp.net ; drop",
        "@",
        "@lid",
        "broadcast@status",
        "٠٨٧٧٣٣٧٦٠٣٦٣",
        "6287733760363\n6287733760364",
        "+1 (555) CALL-NOW",
    ],
)
def test_what_is_no_recipient_is_refused_with_the_accepted_forms(text: str) -> None:
    """The error names the field and the forms, and never repeats what was written."""
    with pytest.raises(InvalidRecipientError) as caught:
        parse_recipient(text, region="ID", field="options.quoted.sender")
    (violation,) = caught.value.violations
    assert violation.field == "options.quoted.sender"
    assert "+6287733760363" in violation.description
    assert "status@broadcast" in violation.description
    assert not text.strip() or len(text) < 6 or text not in caught.value.message


def test_the_region_decides_local_numbers() -> None:
    """The same digits are other people in other countries."""
    assert parse_recipient("015112345678", region="DE").jid == "4915112345678@s.whatsapp.net"
    assert parse_recipient("2025550123", region="US").jid == "12025550123@s.whatsapp.net"
    with pytest.raises(InvalidRecipientError):
        parse_recipient("015112345678", region="US")


def test_e164_of_phone_jids_only() -> None:
    """LIDs and groups have no phone number in them."""
    assert e164_of("6287733760363:3@s.whatsapp.net") == "+6287733760363"
    assert e164_of("200000000000001@lid") == ""
    assert e164_of("120363000000000001@g.us") == ""
