"""``gateway-worker health``: is the worker alive and ready?"""

from __future__ import annotations

from typing import Annotated, Final

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from grpc import aio
from grpc_health.v1 import health_pb2
from rich.text import Text

from gateway_worker.cli.channels import CALL_TIMEOUT, worker_channel
from gateway_worker.cli.exits import ExitCode
from gateway_worker.cli.options import DEFAULT_TARGET, JsonOption, TargetOption, examples
from gateway_worker.cli.output import Output
from gateway_worker.cli.running import run
from wagateway.worker.v1 import worker_pb2

app = typer.Typer(rich_markup_mode="rich", add_completion=False)

_WORKER: Final = ""
"""The name by which the health protocol knows the server as a whole."""

_MAIN_SERVICE: Final = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name

_CHECK: Final = "/grpc.health.v1.Health/Check"

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING

_STYLES: Final[dict[int, str]] = {_SERVING: "green", health_pb2.HealthCheckResponse.NOT_SERVING: "yellow"}


@app.command(epilog=examples("health", "health --service wagateway.worker.v1.WorkerService --json"))
def health(
    *,
    service: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Ask for this service only, by its full name.", show_default=False),
    ] = None,
    target: TargetOption = DEFAULT_TARGET,
    as_json: JsonOption = False,
) -> None:
    """Ask whether the worker is alive (the process) and ready (its service takes calls), by grpc.health.v1.

    Ends with 0 when all that was asked for is serving, 1 when something is not, 3 when nobody answers.
    """
    output = Output(as_json=as_json)
    run(output, _health(output, target, [service] if service is not None else [_WORKER, _MAIN_SERVICE]))


async def _health(output: Output, target: str, services: list[str]) -> None:
    async with worker_channel(target) as channel:
        answers = {name: await _check(channel, name) for name in services}
    if output.as_json:
        names = [MessageToDict(answer)["status"] for answer in answers.values()]
        output.json_line({"services": dict(zip(answers, names, strict=True))})
    else:
        for name, answer in answers.items():
            word = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status).replace("_", " ").lower()
            output.out.print(Text.assemble((word, _STYLES.get(answer.status, "red")), f"  {name or 'the worker'}"))
    if any(answer.status != _SERVING for answer in answers.values()):
        raise typer.Exit(ExitCode.REFUSED)


async def _check(channel: aio.Channel, service: str) -> health_pb2.HealthCheckResponse:
    """Ask for one service; one that the worker does not have is SERVICE_UNKNOWN."""
    call = channel.unary_unary(
        _CHECK,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        return await call(health_pb2.HealthCheckRequest(service=service), timeout=CALL_TIMEOUT)
    except aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
