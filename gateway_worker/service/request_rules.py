"""Rules of requests that ``buf.validate`` cannot state, or not where the same message also travels the other way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from google.protobuf.message import Message

from gateway_worker.domain.errors import Violation
from wagateway.worker.v1 import content_pb2, worker_pb2

UPDATABLE = ("labels", "settings", "settings.default_region", "settings.device_name")
"""Paths that UpdateSession's mask may hold."""

RECEIVED_ONLY = frozenset({"unknown"})
"""Kinds of Content that arrive and cannot be sent."""

SENDABLE = tuple(
    field.name
    for field in content_pb2.Content.DESCRIPTOR.oneofs_by_name["kind"].fields
    if field.name not in RECEIVED_ONLY
)
"""Kinds of Content that can be sent."""


def further_violations(request: Message) -> Iterable[Violation]:
    """What is wrong with a request beyond the rules in the .proto files. Requests without such rules have none."""
    rules = _RULES.get(type(request))
    return () if rules is None else rules(request)


def _update_session(request: worker_pb2.UpdateSessionRequest) -> Iterator[Violation]:
    if request.HasField("update_mask") and not request.update_mask.paths:
        yield Violation("update_mask.paths", f"must name at least one of {', '.join(UPDATABLE)}")
    for index, path in enumerate(request.update_mask.paths):
        if path not in UPDATABLE:
            yield Violation(f"update_mask.paths[{index}]", f"must be one of {', '.join(UPDATABLE)}")


def _send_image(request: worker_pb2.SendImageRequest) -> Iterator[Violation]:
    if request.HasField("image"):
        yield from _image(request.image, "image")


def _send_message(request: worker_pb2.SendMessageRequest) -> Iterator[Violation]:
    kind = request.content.WhichOneof("kind")
    if kind in RECEIVED_ONLY:
        yield Violation(f"content.{kind}", f"is received only; what can be sent is {', '.join(SENDABLE)}")
    if kind == "image":
        yield from _image(request.content.image, "content.image")


def _image(image: content_pb2.ImageContent, field: str) -> Iterator[Violation]:
    if not image.HasField("source"):
        yield Violation(f"{field}.source", "is required: the bytes of a JPEG, PNG or WebP image, up to 16 MiB")


_RULES: Mapping[type[Message], Callable[..., Iterator[Violation]]] = MappingProxyType(
    {
        worker_pb2.UpdateSessionRequest: _update_session,
        worker_pb2.SendImageRequest: _send_image,
        worker_pb2.SendMessageRequest: _send_message,
    }
)
