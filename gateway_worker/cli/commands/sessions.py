"""``gateway-worker sessions``: cards, connections and links."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway_worker.cli.channels import CALL_TIMEOUT, worker_api
from gateway_worker.cli.exits import UsageError
from gateway_worker.cli.options import DEFAULT_TARGET, JsonOption, SessionArgument, TargetOption, examples
from gateway_worker.cli.output import Output
from gateway_worker.cli.running import fail, run
from gateway_worker.cli.views import session_card, session_table
from gateway_worker.cli.wording import state_words
from wagateway.worker.v1 import session_pb2, worker_pb2

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", add_completion=False)

_PAGE_SIZE: Final = 500

# Deleting and logging out tell WhatsApp first, which may take a while or not be possible at all.
_FAREWELL_TIMEOUT: Final = 60.0

_STATES: Final = {
    state_words(state).replace(" ", "-"): state
    for state in session_pb2.SessionState.values()
    if state != session_pb2.SESSION_STATE_UNSPECIFIED
}


@app.callback()
def sessions() -> None:
    """List, show, create, connect, disconnect, log out and delete sessions.

    A session is one WhatsApp account linked to this gateway, or about to be.
    Its card is made once (create); pair links it to a phone; from then on it is
    kept connected, over restarts too.
    """


@app.command("list", epilog=examples("sessions list", "sessions list --state connected --json"))
def list_(
    *,
    states: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help=f"Only these, may be repeated: {', '.join(_STATES)}."),
    ] = None,
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """List sessions by id."""
    output = Output(as_json=as_json)
    unknown = [name for name in states or () if name not in _STATES]
    if unknown:
        fail(output, UsageError(f"no such state: {', '.join(unknown)}", hint=f"there are: {', '.join(_STATES)}"))
    run(output, _list(output, target, [_STATES[name] for name in states or ()]))


async def _list(output: Output, target: str, states: list[session_pb2.SessionState.ValueType]) -> None:
    found = worker_pb2.ListSessionsResponse()
    async with worker_api(target) as api:
        token = ""
        while True:
            request = worker_pb2.ListSessionsRequest(page_size=_PAGE_SIZE, page_token=token, states=states)
            page = await api.ListSessions(request, timeout=CALL_TIMEOUT)
            found.sessions.extend(page.sessions)
            token = page.next_page_token
            if not token:
                break
    output.result(found, view=session_table(found.sessions))


@app.command(epilog=examples("sessions show alpha"))
def show(session: SessionArgument, *, target: TargetOption = DEFAULT_TARGET, as_json: JsonOption = False) -> None:
    """Show a session: its state and why, its account, its settings."""
    output = Output(as_json=as_json)
    run(output, _show(output, target, session))


async def _show(output: Output, target: str, session: str) -> None:
    async with worker_api(target) as api:
        response = await api.GetSession(worker_pb2.GetSessionRequest(session_id=session), timeout=CALL_TIMEOUT)
    output.result(response.session, view=session_card(response.session))


@app.command(
    epilog=examples(
        "sessions create alpha",
        "sessions create shop-7 --label owner=acme --region DE --device-name 'Acme Shop'",
    )
)
def create(
    session: Annotated[
        str,
        typer.Argument(
            metavar="[ID]",
            help="Its id: a letter or digit, then up to 63 letters, digits, dots, underscores and hyphens. "
            "Without one the worker makes one up.",
            show_default=False,
        ),
    ] = "",
    *,
    labels: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Your own note on it; may be repeated.")
    ] = None,
    region: Annotated[
        str, typer.Option(metavar="CC", help="Region by which local phone numbers are understood. Default: ID.")
    ] = "",
    device_name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the linked device on the phone. Default: Gateway.")
    ] = "",
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """Make a session's card. Nothing is connected yet: pair does that."""
    output = Output(as_json=as_json)
    pairs = dict(_label(output, label) for label in labels or ())
    settings = session_pb2.SessionSettings(default_region=region, device_name=device_name)
    request = worker_pb2.CreateSessionRequest(session_id=session, labels=pairs, settings=settings)
    run(output, _create(output, target, request))


def _label(output: Output, text: str) -> tuple[str, str]:
    """Split KEY=VALUE."""
    key, separator, value = text.partition("=")
    if not key or not separator:
        fail(output, UsageError(f"a label is KEY=VALUE, not {text!r}"))
    return key, value


async def _create(output: Output, target: str, request: worker_pb2.CreateSessionRequest) -> None:
    async with worker_api(target) as api:
        response = await api.CreateSession(request, timeout=CALL_TIMEOUT)
    session = response.session
    output.result(session, view=Text.assemble("created ", (session.id, "bold")))
    output.notice(Text(f"  next: gateway-worker pair {session.id}", style="dim"))


@app.command(epilog=examples("sessions connect alpha"))
def connect(session: SessionArgument, *, target: TargetOption = DEFAULT_TARGET, as_json: JsonOption = False) -> None:
    """Connect a session and keep it connected. Returns at once; one that is not linked yet offers a QR code."""
    output = Output(as_json=as_json)
    run(output, _connect(output, target, session))


async def _connect(output: Output, target: str, session: str) -> None:
    async with worker_api(target) as api:
        response = await api.ConnectSession(worker_pb2.ConnectSessionRequest(session_id=session), timeout=CALL_TIMEOUT)
    output.result(response.session, view=_now(response.session))
    if not response.session.HasField("account"):
        output.notice(Text(f"  it is not linked yet: gateway-worker pair {session} shows its QR code", style="dim"))


@app.command(epilog=examples("sessions disconnect alpha"))
def disconnect(session: SessionArgument, *, target: TargetOption = DEFAULT_TARGET, as_json: JsonOption = False) -> None:
    """Close a session's connection and keep its link: connect needs no new scan."""
    output = Output(as_json=as_json)
    run(output, _disconnect(output, target, session))


async def _disconnect(output: Output, target: str, session: str) -> None:
    request = worker_pb2.DisconnectSessionRequest(session_id=session)
    async with worker_api(target) as api:
        response = await api.DisconnectSession(request, timeout=_FAREWELL_TIMEOUT)
    output.result(response.session, view=_now(response.session))


@app.command(epilog=examples("sessions logout alpha"))
def logout(session: SessionArgument, *, target: TargetOption = DEFAULT_TARGET, as_json: JsonOption = False) -> None:
    """Unlink a session from its account and erase its keys. Its card, messages and events stay."""
    output = Output(as_json=as_json)
    run(output, _logout(output, target, session))


async def _logout(output: Output, target: str, session: str) -> None:
    request = worker_pb2.LogoutSessionRequest(session_id=session)
    async with worker_api(target) as api:
        response = await api.LogoutSession(request, timeout=_FAREWELL_TIMEOUT)
    output.result(response.session, view=_now(response.session))


@app.command(epilog=examples("sessions delete alpha --yes"))
def delete(
    session: SessionArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """Log out, then erase a session for good: card, keys, messages and events."""
    output = Output(as_json=as_json)
    if not yes:
        if as_json or not sys.stdin.isatty():
            fail(output, UsageError("deleting erases everything of the session", hint="say --yes to do it"))
        typer.confirm(f"Erase session {session} with its keys, messages and events?", abort=True, err=True)
    run(output, _delete(output, target, session))


async def _delete(output: Output, target: str, session: str) -> None:
    request = worker_pb2.DeleteSessionRequest(session_id=session)
    async with worker_api(target) as api:
        response = await api.DeleteSession(request, timeout=_FAREWELL_TIMEOUT)
    output.result(response, view=Text.assemble("deleted ", (session, "bold")))


def _now(session: session_pb2.Session) -> Text:
    """Return one line that says what a session is now."""
    return Text.assemble((session.id, "bold"), f" is {state_words(session.status.state)}")
