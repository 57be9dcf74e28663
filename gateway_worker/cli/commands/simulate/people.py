"""``gateway-worker simulate phone|contact|scan|unlink``: who is there, and what is linked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from gateway_worker.cli.channels import CALL_TIMEOUT, worker_api
from gateway_worker.cli.commands.simulate.control import CONTROL_TIMEOUT, control_api
from gateway_worker.cli.exits import UsageError
from gateway_worker.cli.options import (
    DEFAULT_SIMULATOR_FILE,
    DEFAULT_TARGET,
    JsonOption,
    SimulatorFileOption,
    TargetOption,
    examples,
)
from gateway_worker.cli.output import Output
from gateway_worker.cli.running import fail, run
from gateway_worker.cli.wording import enum_words
from wagateway.simulator.v1 import simulator_pb2
from wagateway.worker.v1 import worker_pb2

commands = typer.Typer()
phone = typer.Typer(no_args_is_help=True, help="Phones: accounts that scan the QR codes of sessions.")
contact = typer.Typer(no_args_is_help=True, help="Contacts: people whom sessions write to, and who answer.")

NumberArgument = Annotated[
    str,
    typer.Argument(
        metavar="[NUMBER]",
        help="Number in international digits, for example 6281200000001. Without one the next free one is taken.",
        show_default=False,
    ),
]
NameOption = Annotated[str, typer.Option(metavar="NAME", help="Name that others see. Without one it is made up.")]

_BEHAVIOURS: Final = {
    "silent": simulator_pb2.BEHAVIOUR_SILENT,
    "read": simulator_pb2.BEHAVIOUR_READ,
    "echo": simulator_pb2.BEHAVIOUR_ECHO,
    "offline": simulator_pb2.BEHAVIOUR_OFFLINE,
}


@phone.command("add", epilog=examples("simulate phone add", "simulate phone add 6281200000001 --name Budi"))
def phone_add(
    number: NumberArgument = "",
    *,
    name: NameOption = "",
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Add a phone."""
    output = Output(as_json=as_json)
    run(output, _phone_add(output, file, simulator_pb2.AddPhoneRequest(number=number, push_name=name)))


async def _phone_add(output: Output, file: Path, request: simulator_pb2.AddPhoneRequest) -> None:
    async with control_api(file) as api:
        added = (await api.AddPhone(request, timeout=CONTROL_TIMEOUT)).phone
    output.result(added, view=Text.assemble("phone ", (added.number, "bold"), f" ({added.push_name})"))


@phone.command("list")
def phone_list(*, file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE, as_json: JsonOption = False) -> None:
    """List phones and the devices linked to them."""
    output = Output(as_json=as_json)
    run(output, _phone_list(output, file))


async def _phone_list(output: Output, file: Path) -> None:
    async with control_api(file) as api:
        response = await api.ListPhones(simulator_pb2.ListPhonesRequest(), timeout=CONTROL_TIMEOUT)
    table = Table("PHONE", "NAME", "LINKED DEVICES", box=SIMPLE_HEAD, pad_edge=False)
    for each in response.phones:
        table.add_row(
            each.number, each.push_name, ", ".join(_device_words(device) for device in each.devices) or "none"
        )
    output.result(response, view=table)


def _device_words(device: simulator_pb2.Device) -> str:
    queued = f", {device.queued} queued" if device.queued else ""
    return f"{device.device} ({'online' if device.connected else 'offline'}{queued})"


@contact.command(
    "add",
    epilog=examples(
        "simulate contact add 6281300000001 --echo",
        "simulate contact add --name Siti --answer 'Yes?' --answer 'Good bye' --delay 1.5",
    ),
)
def contact_add(
    number: NumberArgument = "",
    *,
    name: NameOption = "",
    echo: Annotated[bool, typer.Option("--echo", help="It reads what arrives and sends it back.")] = False,
    read: Annotated[bool, typer.Option("--read", help="It reads what arrives and says nothing.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Its phone is off: nothing is even delivered.")] = False,
    answers: Annotated[
        list[str] | None,
        typer.Option("--answer", metavar="TEXT", help="It answers with this; repeated: one after the other."),
    ] = None,
    delay: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Time it takes to answer.")] = 0,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Add a contact. Unless told otherwise it confirms the delivery of what arrives, and does nothing else."""
    output = Output(as_json=as_json)
    wanted = [word for word, chosen in (("echo", echo), ("read", read), ("offline", offline)) if chosen]
    if len(wanted) + bool(answers) > 1:
        fail(output, UsageError("a contact has one way to behave: --echo, --read, --offline or --answer"))
    behaviour = simulator_pb2.BEHAVIOUR_SCRIPT if answers else _BEHAVIOURS[wanted[0] if wanted else "silent"]
    request = simulator_pb2.AddContactRequest(number=number, push_name=name, behaviour=behaviour, script=answers)
    request.answer_delay.FromNanoseconds(round(delay * 1e9))
    run(output, _contact_add(output, file, request))


async def _contact_add(output: Output, file: Path, request: simulator_pb2.AddContactRequest) -> None:
    async with control_api(file) as api:
        added = (await api.AddContact(request, timeout=CONTROL_TIMEOUT)).contact
    output.result(added, view=Text.assemble("contact ", (added.number, "bold"), f" ({added.push_name})"))


@contact.command("list")
def contact_list(*, file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE, as_json: JsonOption = False) -> None:
    """List contacts and what they do when a message arrives."""
    output = Output(as_json=as_json)
    run(output, _contact_list(output, file))


async def _contact_list(output: Output, file: Path) -> None:
    async with control_api(file) as api:
        response = await api.ListContacts(simulator_pb2.ListContactsRequest(), timeout=CONTROL_TIMEOUT)
    table = Table("CONTACT", "NAME", "BEHAVIOUR", box=SIMPLE_HEAD, pad_edge=False)
    for each in response.contacts:
        behaviour = enum_words(simulator_pb2.Behaviour.Name(each.behaviour), "BEHAVIOUR_")
        table.add_row(each.number, each.push_name, behaviour)
    output.result(response, view=table)


@commands.command(
    epilog=examples("simulate scan 6281200000001 --session alpha", "simulate scan 6281200000001 --code 'https://…'")
)
def scan(
    number: Annotated[str, typer.Argument(metavar="PHONE", help="The phone that scans.", show_default=False)],
    *,
    session: Annotated[str, typer.Option(metavar="ID", help="Scan the QR code that this session offers now.")] = "",
    code: Annotated[str, typer.Option(metavar="TEXT", help="Scan a QR code with this text.")] = "",
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """Let a phone scan a QR code; answers when the linked device has logged in."""
    output = Output(as_json=as_json)
    if bool(session) == bool(code):
        fail(output, UsageError("say what to scan: --session ID, or --code TEXT"))
    run(output, _scan(output, file, target, number=number, session=session, code=code))


async def _scan(output: Output, file: Path, target: str, *, number: str, session: str, code: str) -> None:
    async with control_api(file) as api:
        if session:
            code = await _offered_code(target, session)
        response = await api.ScanCode(simulator_pb2.ScanCodeRequest(number=number, code=code), timeout=CONTROL_TIMEOUT)
    output.result(response, view=Text.assemble("linked as ", (response.jid, "bold")))


async def _offered_code(target: str, session: str) -> str:
    """Return the text of the QR code that a session offers. Raises UsageError when it offers another kind of code."""
    async with worker_api(target) as api:
        request = worker_pb2.GetPairingRequest(session_id=session)
        pairing = (await api.GetPairing(request, timeout=CALL_TIMEOUT)).pairing
    if pairing.WhichOneof("code") != "qr":
        raise UsageError(f"session {session} offers a code to be typed, not one to be scanned")
    return pairing.qr


@commands.command(epilog=examples("simulate unlink 6281200000001 --device 1"))
def unlink(
    number: Annotated[str, typer.Argument(metavar="PHONE", help="The phone.", show_default=False)],
    *,
    device: Annotated[int, typer.Option(metavar="N", min=0, help="The device to remove. 0: all.")] = 0,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Remove linked devices on a phone: their sessions are logged out."""
    output = Output(as_json=as_json)
    run(output, _unlink(output, file, simulator_pb2.UnlinkDeviceRequest(number=number, device=device)))


async def _unlink(output: Output, file: Path, request: simulator_pb2.UnlinkDeviceRequest) -> None:
    async with control_api(file) as api:
        response = await api.UnlinkDevice(request, timeout=CONTROL_TIMEOUT)
    output.result(response, view=Text("unlinked"))
