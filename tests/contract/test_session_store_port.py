"""What every session store gives back."""

from __future__ import annotations

from dataclasses import replace

from gateway_worker.domain.ids import SessionId, SessionKey, TenantId
from gateway_worker.domain.lifecycle import Lifecycle, Reason, State
from gateway_worker.ports.journal import CreateSession, SaveSession
from gateway_worker.ports.records import Account
from tests.support.stores import KEY, NOW, Stores, card


async def test_gives_back_every_field(stores: Stores) -> None:
    """A card comes back as it was put in, with and without the parts that may be missing."""
    plain = card()
    full = replace(
        card(SessionKey(TenantId("acme"), SessionId("s-1"))),
        labels={"team": "support", "kota": "Yogyakarta, ꦪꦺꦴꦒꦾꦏꦂꦠ"},
        lifecycle=Lifecycle(State.BANNED, Reason.ACCOUNT_BANNED, linked=True, wanted=True, banned_until=NOW + 0.25),
        account=Account("6281200000001:3@s.whatsapp.net", "200000000000001@lid", "Toko Ω", NOW + 0.125),
        updated_at=NOW + 3,
        since=NOW + 2,
        version=7,
        generation=4,
    )
    await stores.journal.commit([CreateSession(plain), CreateSession(full)])
    assert await stores.sessions.sessions() == [full, plain]


async def test_an_account_can_come_and_go(stores: Stores) -> None:
    """Saving replaces the whole card."""
    await stores.journal.commit([CreateSession(card())])
    linked = replace(
        card(version=2),
        account=Account("1:1@s.whatsapp.net", "", "", NOW),
        lifecycle=Lifecycle(State.CONNECTED, Reason.NONE, linked=True, wanted=True),
        labels={},
        generation=1,
    )
    await stores.journal.commit([SaveSession(linked)])
    assert await stores.sessions.sessions() == [linked]
    await stores.journal.commit([SaveSession(card(version=3))])
    assert await stores.sessions.sessions() == [card(version=3)]


async def test_lists_by_key(stores: Stores) -> None:
    """Cards come by tenant, then by id, whatever the order of creation."""
    names = [("default", "beta"), ("acme", "zulu"), ("default", "Beta"), ("default", "alpha"), ("acme", "1.0")]
    keys = [SessionKey(TenantId(tenant), SessionId(session)) for tenant, session in names]
    await stores.journal.commit([CreateSession(card(key)) for key in keys])
    assert [record.key for record in await stores.sessions.sessions()] == sorted(keys)
    assert KEY in keys
