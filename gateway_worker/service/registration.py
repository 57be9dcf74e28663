"""Makes a service of the contract known to a gRPC server, with its interceptors and its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gateway_worker.domain.errors import GatewayError, InvalidArgumentError
from gateway_worker.service.errors import status_of, unexpected
from gateway_worker.service.event_stream import write_stream
from gateway_worker.service.interceptors import Context, Handler, Interceptor, Method, compose


def service_handler(
    service: ServiceDescriptor, servicer: object, interceptors: Sequence[Interceptor], *, stall_timeout: float
) -> grpc.GenericRpcHandler:
    """The handler of all methods of a service, for ``grpc.aio.Server.add_generic_rpc_handlers``.

    The generated registration function would also register each method on its own, for which ``grpc.aio`` waits with a
    future a method at every call; and it would have gRPC parse the requests, which answers one that does not parse with
    UNKNOWN and the text of an exception.

    Args:
        service: The service, from the contract's descriptors.
        servicer: Has a coroutine function for every unary method, and for every streaming one a function that returns
            an asynchronous generator of responses.
        interceptors: Done around every call, the first outermost.
        stall_timeout: Seconds that a client may take to read one message of a stream.
    """

    def build(descriptor: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        method = Method(service.full_name, descriptor.name, streaming=descriptor.server_streaming)
        behaviour = getattr(servicer, descriptor.name)
        handler = _streaming(behaviour, stall_timeout) if method.streaming else behaviour
        serve = _boundary(method, GetMessageClass(descriptor.input_type), compose(method, handler, interceptors))
        serialize = GetMessageClass(descriptor.output_type).SerializeToString
        if method.streaming:
            return grpc.unary_stream_rpc_method_handler(serve, response_serializer=serialize)
        return grpc.unary_unary_rpc_method_handler(serve, response_serializer=serialize)

    streaming_in = [method.full_name for method in service.methods if method.client_streaming]
    if streaming_in:
        raise TypeError(f"methods that take a stream are not served here: {', '.join(streaming_in)}")
    handlers = {descriptor.name: build(descriptor) for descriptor in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _streaming(behaviour: Callable[[Any, Context], Any], stall_timeout: float) -> Handler:
    """A handler that writes what ``behaviour`` iterates over. As a coroutine it goes through the same interceptors."""

    async def handle(request: Any, context: Context) -> None:
        await write_stream(behaviour(request, context), context.write, stall_timeout=stall_timeout)

    return handle


def _boundary(method: Method, request_type: type[Message], handler: Handler) -> Any:
    """The outermost layer: bytes in, and whatever is raised becomes a status with details.

    gRPC's own errors mean that the call has ended, and pass, as does a cancellation of the call. A CancelledError that
    nobody sent to this call is a bug of somebody below, and would leave the client without any answer.
    """

    async def serve(body: bytes, context: Context) -> Message | None:
        try:
            return await answer(body, context)
        except grpc.aio.InternalError:
            # Writing failed: the client has gone, and the cancellation of this call is on its way. gRPC would log every
            # such client as an error with a traceback.
            raise asyncio.CancelledError from None

    async def answer(body: bytes, context: Context) -> Message | None:
        try:
            return await handler(_parse(request_type, body), context)
        except grpc.aio.BaseError:
            raise
        except GatewayError as error:
            failure = error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = unexpected(error, method.full_name)
        except Exception as error:  # noqa: BLE001 - the last one to see it: logged, and answered with a fixed text
            failure = unexpected(error, method.full_name)
        return await context.abort_with_status(status_of(failure))

    return serve


def _parse(request_type: type[Message], body: bytes) -> Message:
    try:
        return request_type.FromString(body)
    except DecodeError:
        name = request_type.DESCRIPTOR.full_name
        raise InvalidArgumentError(message=f"the request is not a valid {name} message") from None
