"""``gateway-worker simulate say|typing|receipt|inbox``: what contacts do and what they got."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway_worker.cli.commands.simulate.control import CONTROL_TIMEOUT, control_api
from gateway_worker.cli.exits import UsageError
from gateway_worker.cli.options import DEFAULT_SIMULATOR_FILE, JsonOption, SimulatorFileOption, examples
from gateway_worker.cli.output import Output, to_json
from gateway_worker.cli.running import fail, run
from gateway_worker.cli.wording import clock, size_words
from wagateway.simulator.v1 import simulator_pb2

commands = typer.Typer()

ContactArgument = Annotated[str, typer.Argument(metavar="CONTACT", help="The contact's number.", show_default=False)]
PhoneArgument = Annotated[str, typer.Argument(metavar="PHONE", help="The phone's number.", show_default=False)]

_RECEIPTS: Final = {
    "delivered": simulator_pb2.RECEIPT_KIND_DELIVERED,
    "read": simulator_pb2.RECEIPT_KIND_READ,
    "played": simulator_pb2.RECEIPT_KIND_PLAYED,
}


@commands.command(
    epilog=examples(
        "simulate say 6281300000001 6281200000001 'Hello'",
        "simulate say 6281300000001 6281200000001 'Look' --image photo.jpg",
    )
)
def say(
    contact: ContactArgument,
    phone: PhoneArgument,
    text: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="What is said; with --image its caption.", show_default=False)
    ] = "",
    *,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="A JPEG or PNG to send.")] = None,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Let a contact write to a phone; the sessions linked to it receive it, end-to-end encrypted."""
    output = Output(as_json=as_json)
    request = simulator_pb2.SayRequest(contact=contact, phone=phone)
    if image is not None:
        try:
            request.image = image.read_bytes()
        except OSError as error:
            fail(output, UsageError(f"cannot read {image}: {error.strerror}"))
        request.caption = text
    elif text:
        request.text = text
    else:
        fail(output, UsageError("say what: TEXT, or --image FILE"))
    run(output, _say(output, file, request))


async def _say(output: Output, file: Path, request: simulator_pb2.SayRequest) -> None:
    async with control_api(file) as api:
        response = await api.Say(request, timeout=CONTROL_TIMEOUT)
    output.result(response, view=Text.assemble("said as ", (response.id, "bold")))


@commands.command(epilog=examples("simulate typing 6281300000001 6281200000001"))
def typing(
    contact: ContactArgument,
    phone: PhoneArgument,
    *,
    stop: Annotated[bool, typer.Option("--stop", help="It stopped.")] = False,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Let a contact show that it is typing, or that it stopped."""
    output = Output(as_json=as_json)
    request = simulator_pb2.SendTypingRequest(contact=contact, phone=phone, composing=not stop)
    run(output, _typing(output, file, request))


async def _typing(output: Output, file: Path, request: simulator_pb2.SendTypingRequest) -> None:
    async with control_api(file) as api:
        response = await api.SendTyping(request, timeout=CONTROL_TIMEOUT)
    output.result(response, view=Text("typing" if request.composing else "stopped typing"))


@commands.command(epilog=examples("simulate receipt 6281300000001 3EB0C0FFEE read"))
def receipt(
    contact: ContactArgument,
    message: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="The message's id.", show_default=False)],
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(_RECEIPTS)}.", show_default=False)],
    *,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Let a contact report a message that it was sent as delivered, read or played."""
    output = Output(as_json=as_json)
    if kind not in _RECEIPTS:
        fail(output, UsageError(f"no such receipt: {kind}", hint=f"there are: {', '.join(_RECEIPTS)}"))
    request = simulator_pb2.SendReceiptRequest(contact=contact, id=message, kind=_RECEIPTS[kind])
    run(output, _receipt(output, file, request, kind))


async def _receipt(output: Output, file: Path, request: simulator_pb2.SendReceiptRequest, word: str) -> None:
    async with control_api(file) as api:
        response = await api.SendReceipt(request, timeout=CONTROL_TIMEOUT)
    output.result(response, view=Text(f"reported as {word}"))


@commands.command(epilog=examples("simulate inbox 6281300000001", "simulate inbox --follow --json"))
def inbox(
    contact: Annotated[
        str,
        typer.Argument(metavar="[CONTACT]", help="The contact; none with --follow: all.", show_default=False),
    ] = "",
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what arrives from now on instead.")] = False,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Show what a contact was sent, as it decrypted it with its own keys."""
    output = Output(as_json=as_json)
    if not contact and not follow:
        fail(output, UsageError("whose inbox? name the contact"))
    run(output, _follow_inbox(output, file, contact) if follow else _inbox(output, file, contact))


async def _inbox(output: Output, file: Path, contact: str) -> None:
    async with control_api(file) as api:
        request = simulator_pb2.ListInboxRequest(contact=contact)
        response = await api.ListInbox(request, timeout=CONTROL_TIMEOUT)
    lines = Text("\n").join(message_line(message) for message in response.messages)
    output.result(response, view=lines if response.messages else Text("nothing yet"))


async def _follow_inbox(output: Output, file: Path, contact: str) -> None:
    async with control_api(file) as api:
        async for response in api.WatchInbox(simulator_pb2.WatchInboxRequest(contact=contact)):
            if output.as_json:
                output.json_line(to_json(response.message))
            else:
                output.out.print(message_line(response.message), soft_wrap=True)


def message_line(message: simulator_pb2.ReceivedMessage) -> Text:
    """Return a received message as a line."""
    sender = message.sender.partition("@")[0].partition(":")[0]
    media = f" [{message.kind}, {size_words(len(message.media))}]" if message.media else ""
    return Text.assemble(
        (clock(message.time), "dim"),
        f" {sender} → {message.contact}:{media} {message.text}",
        (f"  {message.id}", "dim"),
    )
