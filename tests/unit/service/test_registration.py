"""What cannot be served is refused when the server is built."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2

from gateway_worker.service.registration import service_handler


def test_a_method_that_takes_a_stream_is_refused_at_once() -> None:
    """Its handler would be called with something else than it expects."""
    assert reflection_pb2.DESCRIPTOR.package == "grpc.reflection.v1alpha"
    service = descriptor_pool.Default().FindServiceByName("grpc.reflection.v1alpha.ServerReflection")
    with pytest.raises(TypeError, match=r"ServerReflection\.ServerReflectionInfo"):
        service_handler(service, object(), [], stall_timeout=1)
