"""``gateway-worker pair``: a session and a phone."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway_worker.cli.exits import NotLinkedError
from gateway_worker.cli.options import DEFAULT_TARGET, JsonOption, SessionArgument, TargetOption, examples
from gateway_worker.cli.output import Output
from gateway_worker.cli.pairing.link import PairingView, link
from gateway_worker.cli.pairing.views import JsonView, LineView, LiveView, PngFile
from gateway_worker.cli.running import run
from wagateway.worker.v1 import session_pb2

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog=examples(
        "pair alpha",
        "pair alpha --create --png qr.png",
        "pair alpha --code +6281234567890",
    )
)
def pair(
    session: SessionArgument,
    *,
    create: Annotated[bool, typer.Option("--create", help="Make the session first if there is none.")] = False,
    code: Annotated[
        str,
        typer.Option(
            metavar="PHONE", help="Link by a code that is typed on the phone with this number, instead of a QR code."
        ),
    ] = "",
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also keep the QR code now valid in this file.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Give up after so long. 0: when the codes run out.")
    ] = 0,
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """Link a session to a phone: draw its QR code here, renew it, and end when it is linked.

    The session is connected if it is not. One that is linked already needs no
    scan: it is only connected. With --json each code is a line as GetPairing
    answers it, and the last line is the session.
    """
    output = Output(as_json=as_json)
    run(output, _pair(output, target, session, phone=code, create=create, png=png, timeout_seconds=timeout))


async def _pair(
    output: Output,
    target: str,
    session: str,
    *,
    phone: str,
    create: bool,
    png: Path | None,
    timeout_seconds: float,
) -> None:
    with ExitStack() as stack:
        view = _view(output, png, stack)
        try:
            async with asyncio.timeout(timeout_seconds or None):
                linked = await link(target, session, phone=phone, create=create, view=view)
        except TimeoutError:
            raise NotLinkedError(
                f"no phone linked the session within {timeout_seconds:g} s",
                hint=f"it still offers codes: run the command again, or gateway-worker sessions disconnect {session}",
            ) from None
        finally:
            if png is not None:
                view.withdraw()
    output.result(linked, view=_linked_line(linked))


def _view(output: Output, png: Path | None, stack: ExitStack) -> PairingView:
    """Choose what is shown: in place on a terminal, lines elsewhere, JSON for programs."""
    view: PairingView
    if png is not None:
        output.notice(Text(f"the QR code is in {png} too, as long as it is valid", style="dim"))
    if output.as_json:
        view = JsonView(output)
    elif output.out.is_terminal and not output.out.is_dumb_terminal:
        view = stack.enter_context(LiveView(output.out))
    else:
        view = LineView(output.out)
    return PngFile(png, view) if png is not None else view


def _linked_line(session: session_pb2.Session) -> Text:
    account = session.account
    name = f" ({account.push_name})" if account.push_name else ""
    return Text.assemble(
        ("✓ ", "green"), (session.id, "bold"), f" is linked to {account.phone_number or account.jid}{name}, connected"
    )
