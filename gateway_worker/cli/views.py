"""Sessions and sent messages as tables and lines, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gateway_worker.cli.describe import status_text
from gateway_worker.cli.wording import ago, clock, state_style, state_words, ticks
from wagateway.worker.v1 import session_pb2, worker_pb2


def session_table(sessions: Sequence[session_pb2.Session]) -> RenderableType:
    """Return sessions as a table that fits 80 columns."""
    if not sessions:
        return Text("no sessions: gateway-worker sessions create ID makes one")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("ID", style="bold", overflow="fold")
    table.add_column("STATE", no_wrap=True)
    table.add_column("SINCE", no_wrap=True, justify="right")
    table.add_column("ACCOUNT", no_wrap=True)
    table.add_column("NAME", overflow="ellipsis", no_wrap=True)
    for session in sessions:
        table.add_row(
            session.id,
            Text(state_words(session.status.state), style=state_style(session.status.state)),
            ago(session.status.since),
            session.account.phone_number,
            session.account.push_name,
        )
    return table


def session_card(session: session_pb2.Session) -> RenderableType:
    """Return everything known of a session, a line a fact."""
    card = Table.grid(padding=(0, 2))
    card.add_column(style="dim", no_wrap=True)
    card.add_column(overflow="fold")
    card.add_row("id", Text(session.id, style="bold"))
    card.add_row("state", status_text(session.status))
    if session.status.HasField("since"):
        card.add_row("since", f"{clock(session.status.since)} ({ago(session.status.since)})")
    if session.status.HasField("banned_until"):
        card.add_row("banned until", clock(session.status.banned_until))
    card.add_row("wanted", "connected" if session.connection_wanted else "not connected")
    if session.HasField("account"):
        account = session.account
        card.add_row("account", f"{account.phone_number} {account.push_name}".strip())
        card.add_row("device", account.jid)
        if account.lid:
            card.add_row("lid", account.lid)
        card.add_row("linked", clock(account.link_time))
    card.add_row("region", session.settings.default_region or "ID (default)")
    card.add_row("device name", session.settings.device_name or "Gateway (default)")
    for key, value in sorted(session.labels.items()):
        card.add_row("label", f"{key}={value}")
    card.add_row("created", clock(session.create_time))
    return card


def sent_line(message: worker_pb2.SentMessage) -> Text:
    """Return a sent message as a line."""
    mark, word, style = ticks(message.status)
    repeated = " (an earlier call with this idempotency key sent it)" if message.repeated_call else ""
    return Text.assemble((f"{mark} {word}", style), f" to {message.chat} as ", (message.id, "bold"), repeated)
