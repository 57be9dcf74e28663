"""What the gRPC edge costs: unary calls against a core that answers at once, with each layer on and off.

Run ``python -m tests.bench.edge``. One server process and one client process on loopback, both on uvloop, 50 calls in
flight; the variants take turns, because the machine's other work comes and goes. CPU is the server's, all its threads.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import uvloop

from gateway_worker.service.call_log import CallLog
from gateway_worker.service.deadlines import DefaultDeadline
from gateway_worker.service.gate import CallGate
from gateway_worker.service.interceptors import Handler, Interceptor, Method
from gateway_worker.service.principal import DefaultPrincipal
from gateway_worker.service.registration import service_handler
from gateway_worker.service.server import GatewayServer, ServerConfig
from gateway_worker.service.validation import RequestValidation
from gateway_worker.service.worker_service import WorkerService
from tests.support.scripted_core import CoreCall, ScriptedCore, as_core
from wagateway.worker.v1 import content_pb2, worker_pb2, worker_pb2_grpc

IN_FLIGHT = 50
CALLS = 5000
ROUNDS = 7
LOOPBACK = ServerConfig(listen="127.0.0.1:0")
SEND = worker_pb2.SendTextRequest(session_id="one", to="+6287733760363", text=content_pb2.TextContent(text="Hello!"))
SERVICE = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]

VARIANTS = {
    "grpc alone": "the generated registration, a servicer that does nothing but answer",
    "whole edge": "GatewayServer, as it is served",
    "aio interceptors": "the same with each layer a grpc.aio.ServerInterceptor and a cache of its handlers",
}


class _Forgetful(list[CoreCall]):
    def append(self, item: CoreCall) -> None:
        """Keep nothing, as a list of every call would be what is measured."""


class _Plain(worker_pb2_grpc.WorkerServiceServicer):
    """Answers without a core: what gRPC itself costs."""

    async def SendText(self, request: worker_pb2.SendTextRequest, context: object) -> worker_pb2.SendTextResponse:  # noqa: N802
        message = worker_pb2.SentMessage(id="3EB0", session_id=request.session_id, chat=request.to)
        return worker_pb2.SendTextResponse(message=message)


class _AioInterceptor(grpc.aio.ServerInterceptor):
    """One of our interceptors the way grpc.aio has them."""

    def __init__(self, interceptor: Interceptor) -> None:
        self._interceptor = interceptor
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        inner = await continuation(handler_call_details)
        handler = self._handlers.get(handler_call_details.method)
        if handler is None:
            _, service, name = handler_call_details.method.split("/")
            proceed: Handler = inner.unary_unary
            wrapped = self._interceptor.intercept(Method(service, name, streaming=False), proceed)
            handler = self._handlers[handler_call_details.method] = grpc.unary_unary_rpc_method_handler(
                wrapped, inner.request_deserializer, inner.response_serializer
            )
        return handler


def _layers() -> list[tuple[str, Interceptor]]:
    """The interceptors of the server, innermost first."""
    return [
        ("validation", RequestValidation()),
        ("deadline", DefaultDeadline()),
        ("principal", DefaultPrincipal()),
        ("gate", CallGate(2000)),
        ("log, off", CallLog()),
    ]


def _build(variant: str, core: ScriptedCore) -> grpc.aio.Server:
    options = [("grpc.so_reuseport", 0)]
    if variant == "grpc alone":
        server = grpc.aio.server(options=options)
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(_Plain(), server)  # type: ignore[abstract]
        return server
    server = grpc.aio.server(interceptors=[_AioInterceptor(layer) for _, layer in reversed(_layers())], options=options)
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(WorkerService(as_core(core)), server)
    return server


async def _serve(variant: str) -> None:
    """Serve until standard input ends; answer each line of it with the CPU seconds used so far."""
    core = ScriptedCore(calls=_Forgetful())
    if variant == "whole edge":
        async with GatewayServer(as_core(core), LOOPBACK) as gateway:
            await _report(gateway.port)
        return
    server = _build(variant, core)
    port = server.add_insecure_port(LOOPBACK.listen)
    await server.start()
    await _report(port)
    await server.stop(0)


async def _report(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        sys.stdout.write(f"{usage.ru_utime + usage.ru_stime}\n")
        sys.stdout.flush()


@dataclass
class Contestant:
    """A server process, and what was measured of it."""

    variant: str
    process: subprocess.Popen[str]
    port: int
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, variant: str) -> Contestant:
        """Start the server of a variant."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.edge", variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return cls(variant, process, int(process.stdout.readline()))

    def cpu_seconds(self) -> float:
        """CPU time that the server has used."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> None:
        """Let the server end by itself."""
        self.process.communicate()


async def _load(port: int, calls: int) -> float:
    """Calls a second."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: worker_pb2_grpc.WorkerServiceAsyncStub = worker_pb2_grpc.WorkerServiceStub(channel)
        await stub.SendText(SEND, timeout=20)
        left = iter(range(calls))

        async def caller() -> None:
            for _ in left:
                await stub.SendText(SEND, timeout=20)

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
        return calls / (time.perf_counter() - started)


def compare(variants: Sequence[str]) -> list[Contestant]:
    """Measure the variants, taking turns."""
    contestants = [Contestant.start(variant) for variant in variants]
    for contestant in contestants:
        uvloop.run(_load(contestant.port, 500))
    for _ in range(ROUNDS):
        for contestant in contestants:
            before = contestant.cpu_seconds()
            contestant.rates.append(uvloop.run(_load(contestant.port, CALLS)))
            contestant.cpu.append((contestant.cpu_seconds() - before) / CALLS * 1e6)
    for contestant in contestants:
        contestant.end()
    return contestants


class _Context:
    """As much of a call's context as the layers look at."""

    def __init__(self, remaining: float | None) -> None:
        self._remaining = remaining

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline; None when it set none."""
        return self._remaining

    def invocation_metadata(self) -> None:
        """Nobody presents anything."""


async def _microseconds(
    call: Callable[[Any, Any], Awaitable[object]], argument: object, remaining: float | None
) -> float:
    """CPU µs of one call without any network: the least of several rounds."""
    context, rounds, calls = _Context(remaining), 15, 4000
    least = float("inf")
    for _ in range(rounds):
        started = time.thread_time()
        for _ in range(calls):
            await call(argument, context)
        least = min(least, time.thread_time() - started)
    return least / calls * 1e6


@dataclass(frozen=True, slots=True)
class _Details(grpc.HandlerCallDetails):
    """What gRPC knows of a call when it looks for the handler."""

    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


def _served(servicer: object, interceptors: Sequence[Interceptor]) -> Callable[[Any, Any], Awaitable[object]]:
    """SendText as it is registered with gRPC: bytes in."""
    handler = service_handler(SERVICE, servicer, interceptors, stall_timeout=30).service(
        _Details(f"/{SERVICE.full_name}/SendText")
    )
    assert handler is not None
    behaviour: Callable[[Any, Any], Awaitable[object]] | None = handler.unary_unary
    assert behaviour is not None
    return behaviour


async def layers() -> list[tuple[str, float, float]]:
    """CPU µs of a call inside more and more layers: with a deadline of the client's, and without one."""
    core = WorkerService(as_core(ScriptedCore(calls=_Forgetful())))
    plain = _Plain()  # type: ignore[abstract]
    body = SEND.SerializeToString()
    stack: list[Interceptor] = []
    chains: list[tuple[str, Callable[[Any, Any], Awaitable[object]], object]] = [
        ("a handler that answers", plain.SendText, SEND),
        ("+ parsing, errors", _served(plain, []), body),
    ]
    for name, layer in _layers():
        stack.insert(0, layer)
        chains.append((f"+ {name}", _served(plain, list(stack)), body))
    chains.append(("+ WorkerService, core", _served(core, stack), body))
    return [
        (name, await _microseconds(call, argument, 20.0), await _microseconds(call, argument, None))
        for name, call, argument in chains
    ]


def main() -> None:
    """Print the table, or serve a variant for it."""
    if len(sys.argv) > 1:
        uvloop.run(_serve(sys.argv[1]))
        return
    lines = [f"{'without network':24}{'CPU µs':>9}{'without a deadline':>21}"]
    lines += [f"{name:24}{with_deadline:9.1f}{without:21.1f}" for name, with_deadline, without in uvloop.run(layers())]
    lines += ["", f"{'on loopback':24}{'calls/s':>9}{'best':>9}{'CPU µs':>9}{'least':>9}"]
    lines += [
        f"{contestant.variant:24}{statistics.median(contestant.rates):9.0f}{max(contestant.rates):9.0f}"
        f"{statistics.median(contestant.cpu):9.0f}{min(contestant.cpu):9.0f}   {VARIANTS[contestant.variant]}"
        for contestant in compare(list(VARIANTS))
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
