"""``gateway-worker simulate faults|drop|stream-error|stats``: what goes wrong, and what went on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from google.protobuf.json_format import MessageToDict
from rich.table import Table
from rich.text import Text

from gateway_worker.cli.commands.simulate.control import CONTROL_TIMEOUT, control_api
from gateway_worker.cli.exits import UsageError
from gateway_worker.cli.options import DEFAULT_SIMULATOR_FILE, JsonOption, SimulatorFileOption, examples
from gateway_worker.cli.output import Output
from gateway_worker.cli.running import fail, run
from wagateway.simulator.v1 import simulator_pb2

commands = typer.Typer()

_STREAM_ERRORS: Final = {
    "replaced": simulator_pb2.STREAM_ERROR_KIND_REPLACED,
    "unavailable": simulator_pb2.STREAM_ERROR_KIND_UNAVAILABLE,
    "logged-out": simulator_pb2.STREAM_ERROR_KIND_LOGGED_OUT,
}


@commands.command(
    epilog=examples(
        "simulate faults --ack-delay 2.5",
        "simulate faults --phone 6281200000001 --withhold-acks",
        "simulate faults --refuse-messages 463",
        "simulate faults --clear",
    )
)
def faults(
    *,
    phone: Annotated[str, typer.Option(metavar="PHONE", help="Hit the devices of this phone only.")] = "",
    ack_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Delay the acknowledgements of messages.")
    ] = 0,
    withhold_acks: Annotated[
        bool, typer.Option("--withhold-acks", help="Deliver messages, but never acknowledge them.")
    ] = False,
    swallow: Annotated[bool, typer.Option("--swallow-messages", help="Drop messages without a trace.")] = False,
    refuse_messages: Annotated[
        int, typer.Option(metavar="CODE", min=0, help="Refuse messages with this error code, for example 463.")
    ] = 0,
    refuse_logins: Annotated[
        int,
        typer.Option(
            metavar="CODE",
            min=0,
            help="Refuse logins with this reason: 401 logged out, 403 banned, 405 outdated, 503 unavailable.",
        ),
    ] = 0,
    refuse_connections: Annotated[
        bool, typer.Option("--refuse-connections", help="Close new connections before the handshake.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="All is well again.")] = False,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Set what goes wrong from now on. What is not named goes well: each call replaces the one before."""
    output = Output(as_json=as_json)
    request = simulator_pb2.SetFaultsRequest(
        withhold_acks=withhold_acks,
        swallow_messages=swallow,
        refuse_messages=refuse_messages,
        refuse_logins=refuse_logins,
        refuse_connections=refuse_connections,
    )
    if ack_delay:
        request.ack_delay.FromNanoseconds(round(ack_delay * 1e9))
    if bool(request.ByteSize()) == clear:
        fail(output, UsageError("say what goes wrong, or --clear", hint="gateway-worker simulate faults --help"))
    request.phone = phone
    run(output, _faults(output, file, request))


async def _faults(output: Output, file: Path, request: simulator_pb2.SetFaultsRequest) -> None:
    async with control_api(file) as api:
        response = await api.SetFaults(request, timeout=CONTROL_TIMEOUT)
    named = MessageToDict(request, preserving_proto_field_name=True)
    named.pop("phone", None)
    words = ", ".join(
        f"{name.replace('_', ' ')}{'' if value is True else f' {value}'}" for name, value in named.items()
    )
    output.result(response, view=Text(f"{words or 'no faults'}, for {request.phone or 'every phone'}"))


@commands.command(epilog=examples("simulate drop", "simulate drop 6281200000001"))
def drop(
    phone: Annotated[str, typer.Argument(metavar="[PHONE]", help="The phone. None: all.", show_default=False)] = "",
    *,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Close the connections of a phone's linked devices, or of all, as a failing network does."""
    output = Output(as_json=as_json)
    run(output, _drop(output, file, phone))


async def _drop(output: Output, file: Path, phone: str) -> None:
    async with control_api(file) as api:
        request = simulator_pb2.DropConnectionsRequest(phone=phone)
        response = await api.DropConnections(request, timeout=CONTROL_TIMEOUT)
    output.result(response, view=Text(f"connections dropped: {response.dropped}"))


@commands.command("stream-error", epilog=examples("simulate stream-error 6281200000001 replaced"))
def stream_error(
    phone: Annotated[str, typer.Argument(metavar="PHONE", help="The phone.", show_default=False)],
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(_STREAM_ERRORS)}.", show_default=False)],
    *,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    as_json: JsonOption = False,
) -> None:
    """Send a stream error to a phone's linked devices: another client took over, come back later, logged out."""
    output = Output(as_json=as_json)
    if kind not in _STREAM_ERRORS:
        fail(output, UsageError(f"no such stream error: {kind}", hint=f"there are: {', '.join(_STREAM_ERRORS)}"))
    request = simulator_pb2.SendStreamErrorRequest(phone=phone, kind=_STREAM_ERRORS[kind])
    run(output, _stream_error(output, file, request))


async def _stream_error(output: Output, file: Path, request: simulator_pb2.SendStreamErrorRequest) -> None:
    async with control_api(file) as api:
        response = await api.SendStreamError(request, timeout=CONTROL_TIMEOUT)
    output.result(response, view=Text("sent"))


@commands.command()
def stats(*, file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE, as_json: JsonOption = False) -> None:
    """Show the simulator's counters."""
    output = Output(as_json=as_json)
    run(output, _stats(output, file))


async def _stats(output: Output, file: Path) -> None:
    async with control_api(file) as api:
        response = await api.GetStats(simulator_pb2.GetStatsRequest(), timeout=CONTROL_TIMEOUT)
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for field in response.DESCRIPTOR.fields:
        table.add_row(field.name.replace("_", " "), f"{getattr(response, field.name):,.12g}")
    output.result(response, view=table)
