"""Recipients over all countries' numbering plans."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_worker.domain.errors import InvalidRecipientError
from gateway_worker.domain.recipients import parse_recipient

MOBILE = phonenumbers.PhoneNumberType.MOBILE
REGIONS = sorted(
    region for region in phonenumbers.SUPPORTED_REGIONS if phonenumbers.example_number_for_type(region, MOBILE)
)


@pytest.mark.parametrize("region", REGIONS)
def test_a_mobile_number_of_every_country_is_understood_in_every_form(region: str) -> None:
    """International with and without plus, national as it is dialled, and national without its trunk prefix."""
    number = phonenumbers.example_number_for_type(region, MOBILE)
    assert number is not None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    expected = f"{e164.removeprefix('+')}@s.whatsapp.net"
    forms = {
        e164,
        e164.removeprefix("+"),
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL),
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL),
        phonenumbers.national_significant_number(number),
    }
    assert {form: parse_recipient(form, region=region).jid for form in forms} == dict.fromkeys(forms, expected)


@given(st.text(max_size=40), st.sampled_from(REGIONS))
def test_any_text_is_a_recipient_or_a_clear_error(text: str, region: str) -> None:
    """Nothing but the documented error, whatever is written; what is accepted is accepted again as it is."""
    try:
        recipient = parse_recipient(text, region=region)
    except InvalidRecipientError:
        return
    assert parse_recipient(recipient.jid, region=region) == recipient
