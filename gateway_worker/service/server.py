"""The gRPC server: everything a client of the gateway can reach."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2_grpc

from gateway_worker.service.call_log import CallLog
from gateway_worker.service.deadlines import DefaultDeadline
from gateway_worker.service.gate import CallGate
from gateway_worker.service.health import Health
from gateway_worker.service.interceptors import Interceptor
from gateway_worker.service.principal import DefaultPrincipal
from gateway_worker.service.reflection import reflection_handlers
from gateway_worker.service.registration import service_handler
from gateway_worker.service.validation import RequestValidation
from gateway_worker.service.worker_service import WorkerService
from gateway_worker.sessions.api import GatewayApi
from wagateway.worker.v1 import worker_pb2

_MIB = 1024 * 1024
_FLUSH_S = 0.5  # for answers that are on their way out when the last handler has returned
_UNWIND_S = 5.0  # for the `finally` of handlers that were cancelled

logger = logging.getLogger(__name__)


class ListenError(Exception):
    """The server cannot listen where it was told to; the message tells the operator why and what is accepted."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the server is reached and what it puts up with.

    Attributes:
        listen: ``HOST:PORT``; an IPv6 host in brackets; port 0: any free one. The default is this machine only, as
            callers are not authenticated.
        max_message_bytes: Largest request and largest response.
        max_calls: How many calls at once, open event streams included.
        stall_timeout: Seconds that a client may take to read one message of a stream.
        deadline: Deadlines of calls that come without one.
    """

    listen: str = "127.0.0.1:50051"
    max_message_bytes: int = 32 * _MIB
    max_calls: int = 2000
    stall_timeout: float = 30.0
    deadline: DefaultDeadline = field(default_factory=DefaultDeadline)


class GatewayServer:
    """Serves the contract, health and reflection; an async context manager that listens while it is entered.

    Health tells liveness and readiness apart: ``""`` is SERVING for as long as the server answers at all, each service
    by its name is SERVING between ``set_ready(True)`` and the drain.

    The order at the end is: :meth:`begin_drain`, then end the core's event streams (DrainingError, so that clients go
    on elsewhere from their cursors), then :meth:`stop`, then stop the core. Leaving the context without them stops at
    once.

    Args:
        core: What serves the calls.
        config: See :class:`ServerConfig`.
        authentication: Settles who the caller is.

    Raises:
        ListenError: On entering: the address is not one, or is taken.
    """

    def __init__(
        self, core: GatewayApi, config: ServerConfig | None = None, *, authentication: Interceptor | None = None
    ) -> None:
        self._core = core
        self._config = config or ServerConfig()
        self._authentication = authentication or DefaultPrincipal()
        self._services: Sequence[ServiceDescriptor] = (worker_pb2.DESCRIPTOR.services_by_name["WorkerService"],)
        self._gate = CallGate(self._config.max_calls)
        self._health = Health([service.full_name for service in self._services])
        self._draining = False
        self._server: grpc.aio.Server | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port it listens on; 0 before it does."""
        return self._port

    @property
    def address(self) -> str:
        """``HOST:PORT`` it listens on."""
        return f"{self._config.listen.rpartition(':')[0]}:{self._port}"

    async def __aenter__(self) -> Self:
        """Listen. Services are not ready yet."""
        server = self._build()
        self._port = _bind(server, self._config.listen)
        await self._health.tell(ready=False)
        await server.start()
        self._server = server
        logger.info("listening on %s", self.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop at once, unless :meth:`stop` was called before."""
        await self.stop(0.0)

    async def set_ready(self, *, ready: bool) -> None:
        """Tell by health whether the services can do their work. Without effect once draining."""
        if not self._draining:
            await self._health.tell(ready=ready)

    async def begin_drain(self) -> None:
        """First step of the end: health says NOT_SERVING for every service; everything is still served."""
        self._draining = True
        await self._health.tell(ready=False)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, let those under way finish, and stop listening.

        When it returns no handler runs any more. Calling it again does nothing.

        Args:
            grace: Seconds that calls under way get; then they are cancelled.
        """
        server, self._server = self._server, None
        if server is None:
            return
        await self.begin_drain()
        self._gate.close()
        if not await self._gate.wait_idle(grace):
            logger.warning("cancelling %d calls that took longer than the grace of %.1f s", self._gate.under_way, grace)
        await server.stop(min(grace, _FLUSH_S))
        if not await self._gate.wait_idle(_UNWIND_S):
            logger.error("%d calls did not end when they were cancelled", self._gate.under_way)

    def _build(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=_options(self._config))
        interceptors = (CallLog(), self._gate, self._authentication, self._config.deadline, RequestValidation())
        (worker,) = self._services
        servicer = WorkerService(self._core)
        server.add_generic_rpc_handlers(
            [service_handler(worker, servicer, interceptors, stall_timeout=self._config.stall_timeout)]
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [*(service.full_name for service in self._services), health.SERVICE_NAME]
        server.add_generic_rpc_handlers(reflection_handlers(names))
        return server


def _options(config: ServerConfig) -> Sequence[tuple[str, int]]:
    return (
        ("grpc.so_reuseport", 0),  # with it, a second server on the port would quietly take half of the calls
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        # Streams are silent between heartbeats: pings find dead peers, and clients may ping every 10 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    )


def _bind(server: grpc.aio.Server, listen: str) -> int:
    """Open the port and return it. gRPC says nothing but that it failed, so the reason is looked for afterwards."""
    host, port = _parsed(listen)
    try:
        return server.add_insecure_port(listen)
    except RuntimeError:
        raise ListenError(f"cannot listen on {listen}: {_refusal(host, port)}; set another HOST:PORT") from None


def _parsed(listen: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{listen}")
        host, port = (parts.hostname, parts.port) if parts.netloc == listen else (None, None)
    except ValueError:
        host, port = None, None
    if not host or port is None or "@" in listen:
        raise ListenError(f"{listen!r} is not an address to listen on: HOST:PORT is, for example 127.0.0.1:50051")
    return host, port


def _refusal(host: str, port: int) -> str:
    """Why the operating system does not let anybody listen there."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen()
    except OSError as error:
        return error.strerror or type(error).__name__
    return "gRPC refuses it"
