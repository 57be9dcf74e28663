"""Health: whether the server is alive, and whether its services can do their work."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2

from gateway_worker.service.interceptors import Context


class Health(health.aio.HealthServicer):
    """The standard health service, its ``List`` included, which the library leaves out.

    The empty name is SERVING for as long as anybody can ask. A service is NOT_SERVING until it is told to be ready.

    Args:
        services: Full names of the services.
    """

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = services
        self._ready = False

    async def tell(self, *, ready: bool) -> None:
        """Say of every service whether it can do its work; those who watch are told."""
        self._ready = ready
        for service in self._services:
            await self.set(service, self._status)

    async def List(  # noqa: N802 - the contract's name
        self,
        request: Message,  # noqa: ARG002 - it is empty
        context: Context,  # noqa: ARG002 - part of the signature
    ) -> Message:
        """All names with their statuses."""
        statuses = {"": health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)}
        statuses |= {service: health_pb2.HealthCheckResponse(status=self._status) for service in self._services}
        response: Message = health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined] # in newer stubs
        return response

    @property
    def _status(self) -> int:
        answer = health_pb2.HealthCheckResponse
        return answer.SERVING if self._ready else answer.NOT_SERVING
