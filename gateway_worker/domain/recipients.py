"""Recipients: from what people write to the JID that WhatsApp wants.

Phone numbers are parsed with libphonenumber's metadata; local forms are understood by the session's default region.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import phonenumbers

from gateway_worker.domain.errors import InvalidRecipientError, Violation

ACCEPTED = (
    "a phone number such as +6287733760363, 6287733760363, 087733760363 or 87733760363 (local forms by the session's "
    "default region), or a JID such as 6287733760363@s.whatsapp.net, 200000000000001@lid, 120363000000000001@g.us, "
    "120363000000000001@newsletter or status@broadcast"
)
STATUS_BROADCAST = "status@broadcast"

_PUNCTUATION = re.compile(r"[\s().\-/\u2010-\u2015\u2212\u00a0]+")
_DIGITS = re.compile(r"\d+", re.ASCII)
_USER_JID = re.compile(r"(\d{5,20})(?:[.:]\d{1,4}){0,2}@(s\.whatsapp\.net|c\.us|lid)", re.ASCII)
_MOBILE = frozenset({phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE})
_OTHER_JID = re.compile(r"(\d{5,25}(?:-\d{5,20})?)@(g\.us|newsletter)", re.ASCII)


class RecipientKind(Enum):
    """What a JID names."""

    USER = "user"
    LID = "lid"
    GROUP = "group"
    NEWSLETTER = "newsletter"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A chat to write to.

    Attributes:
        jid: WhatsApp's address of the chat, without a device part.
        kind: What it names.
    """

    jid: str
    kind: RecipientKind


def parse_recipient(text: str, *, region: str, field: str = "to") -> Recipient:
    """Understand ``text`` as a recipient.

    Args:
        text: Any of the accepted forms; see :data:`ACCEPTED`.
        region: ISO 3166-1 alpha-2 region of local numbers, for example ``ID``.
        field: Name of the request's field, for the error.

    Raises:
        InvalidRecipientError: It is none of them. The error names the forms, not the text.
    """
    stripped = text.strip()
    recipient = _parse_jid(stripped) if "@" in stripped else _parse_number(stripped, region)
    if recipient is None:
        raise InvalidRecipientError(Violation(field, f"must be {ACCEPTED}"))
    return recipient


def is_region(region: str) -> bool:
    """Whether libphonenumber knows the region's numbering plan."""
    return region in phonenumbers.SUPPORTED_REGIONS


def e164_of(jid: str) -> str:
    """Phone number of a phone JID in E.164, empty for every other JID."""
    match = _USER_JID.fullmatch(jid)
    return f"+{match[1]}" if match and match[2] != "lid" else ""


def _parse_jid(text: str) -> Recipient | None:
    if text == STATUS_BROADCAST:
        return Recipient(text, RecipientKind.STATUS)
    if match := _USER_JID.fullmatch(text):
        user, server = match.groups()
        if server == "lid":
            return Recipient(f"{user}@lid", RecipientKind.LID)
        return Recipient(f"{user}@s.whatsapp.net", RecipientKind.USER)
    if match := _OTHER_JID.fullmatch(text):
        kind = RecipientKind.GROUP if match[2] == "g.us" else RecipientKind.NEWSLETTER
        return Recipient(text, kind)
    return None


@lru_cache(maxsize=8192)  # parsing costs about 100 µs, and people write to the same numbers again
def _parse_number(text: str, region: str) -> Recipient | None:
    """Try the possible readings of a number.

    Digits without a plus are ambiguous: 6287733760363 may be international, 87733760363 local. A reading with the
    region's own country code comes first, then the local one, then any other country; a number that can be a mobile's
    wins over one that can only be a landline's.
    """
    international = text.startswith("+")
    digits = _PUNCTUATION.sub("", text.removeprefix("+"))
    if _DIGITS.fullmatch(digits) is None:
        return None
    if not international and digits.startswith("00"):
        international, digits = True, digits.removeprefix("00")
    readings: list[tuple[str, str | None]]
    if international:
        readings = [(f"+{digits}", None)]
    elif digits.startswith("0"):
        readings = [(digits, region)]
    else:
        readings = [(digits, region), (f"+{digits}", None)]
        if digits.startswith(str(phonenumbers.country_code_for_region(region))):
            readings.reverse()
    valid = [number for reading in readings if (number := _valid(*reading)) is not None]
    if not valid:
        return None
    number = next((number for number in valid if phonenumbers.number_type(number) in _MOBILE), valid[0])
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Recipient(f"{e164.removeprefix('+')}@s.whatsapp.net", RecipientKind.USER)


def _valid(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None
