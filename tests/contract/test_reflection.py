"""Reflection: a client without any files can list, describe and call everything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gateway_worker.service.reflection import V1, V1ALPHA
from tests.support.edge import Edge, serving
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import worker_pb2

SERVICES = ["grpc.health.v1.Health", V1, V1ALPHA, "wagateway.worker.v1.WorkerService"]
VALIDATE_FIELD = 1159  # the number of buf.validate's extension of FieldOptions


@contextmanager
def _database(address: str) -> Iterator[ProtoReflectionDescriptorDatabase]:
    with grpc.insecure_channel(address) as channel:
        yield ProtoReflectionDescriptorDatabase(channel)


async def test_every_service_is_listed() -> None:
    """The same list as `grpcurl list` prints."""

    def services(address: str) -> list[str]:
        with _database(address) as database:
            return sorted(database.get_services())

    async with serving() as edge:
        assert await asyncio.to_thread(services, edge.server.address) == SERVICES


async def test_every_method_can_be_described_and_its_messages_built() -> None:
    """From the descriptors alone, with comments left out and validation rules left in."""

    def describe(address: str) -> dict[str, list[str]]:
        with _database(address) as database:
            pool = DescriptorPool(database)
            described = {}
            for name in SERVICES:
                service = pool.FindServiceByName(name)
                described[name] = [method.name for method in service.methods]
                for method in service.methods:
                    GetMessageClass(method.input_type)()
                    GetMessageClass(method.output_type)()
            rules = pool.FindExtensionByName("buf.validate.field")
            assert rules.number == VALIDATE_FIELD
            return described

    async with serving() as edge:
        described = await asyncio.to_thread(describe, edge.server.address)
    worker = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]
    assert described == {
        "grpc.health.v1.Health": ["Check", "List", "Watch"],
        V1: ["ServerReflectionInfo"],
        V1ALPHA: ["ServerReflectionInfo"],
        worker.full_name: [method.name for method in worker.methods],
    }


async def test_a_call_can_be_made_from_the_descriptors_alone() -> None:
    """What grpcurl does."""

    def call(address: str) -> str:
        with grpc.insecure_channel(address) as channel:
            pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            method = pool.FindServiceByName("wagateway.worker.v1.WorkerService").methods_by_name["GetSession"]
            request = GetMessageClass(method.input_type)(session_id="one")
            invoke = channel.unary_unary(
                "/wagateway.worker.v1.WorkerService/GetSession",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            response = invoke(request, timeout=5)
            return str(getattr(response, "session").id)  # noqa: B009 - the class is not known before

    async with serving() as edge:
        assert await asyncio.to_thread(call, edge.server.address) == "one"


async def _ask(
    edge: Edge, service: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    method = edge.channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    call = method(timeout=5)
    await call.write(request)
    response = await call.read()
    await call.done_writing()
    assert isinstance(response, reflection_pb2.ServerReflectionResponse)
    assert await call.code() is grpc.StatusCode.OK
    return response


@pytest.mark.parametrize("service", [V1, V1ALPHA])
async def test_both_versions_answer_the_same(service: str) -> None:
    """Newer clients ask v1, older ones v1alpha."""
    async with serving() as edge:
        listed = await _ask(edge, service, reflection_pb2.ServerReflectionRequest(list_services="*"))
        assert [item.name for item in listed.list_services_response.service] == SERVICES
        symbol = reflection_pb2.ServerReflectionRequest(file_containing_symbol="wagateway.worker.v1.SendTextRequest")
        found = await _ask(edge, service, symbol)
    files = {FileDescriptorProto.FromString(file).name for file in found.file_descriptor_response.file_descriptor_proto}
    assert {"wagateway/worker/v1/worker.proto", "buf/validate/validate.proto"} <= files


PRIVATE = next(iter(engine_pb2.DESCRIPTOR.services_by_name.values())).full_name


@pytest.mark.parametrize("symbol", [PRIVATE, "Nonsense"])
async def test_private_contracts_are_not_described(symbol: str) -> None:
    """Even where this process has loaded them, as this one has."""
    async with serving() as edge:
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        response = await _ask(edge, V1, request)
    assert response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
