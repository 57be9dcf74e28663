"""Server reflection, v1 and v1alpha, so that grpcurl and buf curl need no files.

grpcio-reflection serves v1alpha only. v1 has the same messages under another package name, so its descriptors are
derived and the same servicer answers for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"


def reflection_handlers(services: Sequence[str]) -> Sequence[grpc.GenericRpcHandler]:
    """Handlers of both reflection services, which describe themselves, ``services``, and nothing else.

    Args:
        services: Full names of services whose generated modules are imported.
    """
    loaded = descriptor_pool.Default()
    pool = _pool_of(loaded.FindServiceByName(name).file for name in (*services, V1ALPHA))
    servicer = aio.ReflectionServicer([*services, V1, V1ALPHA], pool=pool)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return [grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}) for name in (V1, V1ALPHA)]


def _pool_of(files: Iterable[Any]) -> descriptor_pool.DescriptorPool:
    """A pool with ``files``, what they import, and v1 of reflection.

    The process's default pool would also show the private contracts that happen to be loaded, and could not take a file
    that some other package may bring along.
    """
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file: Any) -> None:  # a FileDescriptor, whose class depends on the implementation of protobuf
        if file.name not in added:
            added.add(file.name)
            for dependency in file.dependencies:
                add(dependency)
            pool.AddSerializedFile(file.serialized_pb)

    for file in files:
        add(file)
    pool.AddSerializedFile(_v1_file().SerializeToString())
    return pool


def _v1_file() -> FileDescriptorProto:
    v1alpha = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    return text_format.Parse(text_format.MessageToString(v1alpha).replace("v1alpha", "v1"), FileDescriptorProto())
