"""What requests may hold, and what a client is told when they do not."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway_worker.domain.errors import InvalidArgumentError
from gateway_worker.domain.ids import is_name
from gateway_worker.service.request_rules import SENDABLE, UPDATABLE
from gateway_worker.service.rule_texts import PATTERNS
from gateway_worker.service.validation import RequestValidation
from tests.support.edge import failure_of, serving
from wagateway.worker.v1 import content_pb2, event_pb2, session_pb2, worker_pb2
from wagateway.worker.v1.worker_pb2 import (
    AcknowledgeEventsRequest,
    ConnectSessionRequest,
    CreateSessionRequest,
    GetSessionRequest,
    ListSessionsRequest,
    SendImageRequest,
    SendMessageRequest,
    SendTextRequest,
    SessionEventsRequest,
    UpdateSessionRequest,
)

NAME = "must be a letter or digit, then up to 63 letters, digits, dots, underscores and hyphens"
OPTIONAL_NAME = "must be empty or a letter or digit, then up to 63 letters, digits, dots, underscores and hyphens"
REGION = "must be empty or an ISO 3166-1 alpha-2 region in capitals, for example ID"
KEY = "must be up to 128 printable ASCII characters without spaces"
PATHS = "must be one of labels, settings, settings.default_region, settings.device_name"
STATES = "must be one of " + ", ".join(value.name for value in session_pb2.SessionState.DESCRIPTOR.values[1:])
KINDS = "must be one of " + ", ".join(value.name for value in event_pb2.EventKind.DESCRIPTOR.values[1:])
SOURCE = "is required: the bytes of a JPEG, PNG or WebP image, up to 16 MiB"

VALIDATION = RequestValidation()


def _text(options: content_pb2.SendOptions | None = None, *, to: str = "1", text: str = "hello") -> SendTextRequest:
    return SendTextRequest(session_id="one", to=to, text=content_pb2.TextContent(text=text), options=options)


def _options(**fields: object) -> SendTextRequest:
    return _text(content_pb2.SendOptions(**fields))  # type: ignore[arg-type]


def _image(image: content_pb2.ImageContent | None) -> SendImageRequest:
    return SendImageRequest(session_id="one", to="1", image=image)


def _any(content: content_pb2.Content | None) -> SendMessageRequest:
    return SendMessageRequest(session_id="one", to="1", content=content)


def _inline(count: int) -> content_pb2.MediaSource:
    return content_pb2.MediaSource(inline=bytes(count))


def _settings(**fields: str) -> session_pb2.SessionSettings:
    return session_pb2.SessionSettings(**fields)


def _mask(*paths: str) -> UpdateSessionRequest:
    return UpdateSessionRequest(session_id="one", update_mask=FieldMask(paths=paths))


ACCEPTED: list[tuple[str, Message]] = [
    ("generated id", CreateSessionRequest()),
    ("shortest id", CreateSessionRequest(session_id="a")),
    ("longest id", CreateSessionRequest(session_id="a" * 64)),
    ("all signs of an id", CreateSessionRequest(session_id="0.a_B-9")),
    ("64 labels", CreateSessionRequest(labels={f"k{number}": "v" for number in range(64)})),
    ("longest label", CreateSessionRequest(labels={"k" * 63: "v" * 1024})),
    ("empty label", CreateSessionRequest(labels={"k": ""})),
    ("settings", CreateSessionRequest(settings=_settings(default_region="DE", device_name="\N{WHALE}" * 50))),
    ("empty settings", CreateSessionRequest(settings=_settings())),
    ("largest page", ListSessionsRequest(page_size=1000, page_token="t" * 256)),
    ("every state", ListSessionsRequest(states=range(1, 11))),  # type: ignore[arg-type]
    ("every path", _mask(*UPDATABLE)),
    ("code", ConnectSessionRequest(session_id="one", pairing_phone_number="+62 877 3376 0363")),
    ("longest text", _text(text="\N{WHALE}" * 65536)),
    ("longest recipient", _text(to="1" * 128)),
    ("longest key", _options(idempotency_key="!" * 64 + "~" * 64)),
    ("256 mentions", _options(mentions=["1"] * 256)),
    ("quote", _options(quoted=content_pb2.QuotedMessage(message_id="i" * 128, sender="s" * 128, text="t" * 4096))),
    ("typing for no time", _options(human=content_pb2.HumanSimulation(typing=Duration()))),
    ("typing for a minute", _options(human=content_pb2.HumanSimulation(typing=Duration(seconds=60)))),
    ("largest image", _image(content_pb2.ImageContent(source=_inline(16 * 1024 * 1024), caption="c" * 65536))),
    ("any text", _any(content_pb2.Content(text=content_pb2.TextContent(text="t")))),
    ("any image", _any(content_pb2.Content(image=content_pb2.ImageContent(source=_inline(1))))),
    ("all events", SessionEventsRequest()),
    ("1000 sessions", SessionEventsRequest(session_ids=["one"] * 1000)),
    ("every kind", SessionEventsRequest(kinds=[10, 11, 12, 13, 14, 15, 50, 51, 52, 53])),  # type: ignore[list-item]
    ("unspecified position", SessionEventsRequest(position=worker_pb2.START_POSITION_UNSPECIFIED)),
    ("longest cursor", SessionEventsRequest(cursor="p" * 64)),
    ("consumer", SessionEventsRequest(consumer="crm")),
    ("fastest heartbeat", SessionEventsRequest(heartbeat_interval=Duration(seconds=1))),
    ("slowest heartbeat", SessionEventsRequest(heartbeat_interval=Duration(seconds=300))),
]

REFUSED: list[tuple[str, Message, dict[str, str]]] = [
    ("no id", GetSessionRequest(), {"session_id": NAME}),
    ("id too long", GetSessionRequest(session_id="a" * 65), {"session_id": NAME}),
    ("id with a space", GetSessionRequest(session_id="a b"), {"session_id": NAME}),
    ("id with a newline", GetSessionRequest(session_id="a\n"), {"session_id": NAME}),
    ("id with a slash", GetSessionRequest(session_id="a/b"), {"session_id": NAME}),
    ("id with two dots first", GetSessionRequest(session_id=".."), {"session_id": NAME}),
    ("id beyond ASCII", GetSessionRequest(session_id="\u0661"), {"session_id": NAME}),
    ("chosen id", CreateSessionRequest(session_id="-a"), {"session_id": OPTIONAL_NAME}),
    (
        "65 labels",
        CreateSessionRequest(labels={f"k{number}": "v" for number in range(65)}),
        {"labels": "must have at most 64 entries"},
    ),
    ("label without a key", CreateSessionRequest(labels={"": "v"}), {"labels": "a key must not be empty"}),
    ("long key", CreateSessionRequest(labels={"k" * 64: "v"}), {"labels": "a key must have at most 63 characters"}),
    (
        "long value",
        CreateSessionRequest(labels={"k": "v" * 1025}),
        {"labels": "a value must have at most 1,024 characters"},
    ),
    (
        "small region",
        CreateSessionRequest(settings=_settings(default_region="id")),
        {"settings.default_region": REGION},
    ),
    (
        "long region",
        CreateSessionRequest(settings=_settings(default_region="IDN")),
        {"settings.default_region": REGION},
    ),
    (
        "device name",
        CreateSessionRequest(settings=_settings(device_name="n" * 51)),
        {"settings.device_name": "must have at most 50 characters"},
    ),
    (
        "negative page",
        ListSessionsRequest(page_size=-1),
        {"page_size": "must be greater than or equal to 0 and less than or equal to 1000"},
    ),
    (
        "large page",
        ListSessionsRequest(page_size=1001),
        {"page_size": "must be greater than or equal to 0 and less than or equal to 1000"},
    ),
    ("page token", ListSessionsRequest(page_token="t" * 257), {"page_token": "must have at most 256 characters"}),
    ("unspecified state", ListSessionsRequest(states=[0]), {"states[0]": STATES}),  # type: ignore[list-item]
    ("unknown state", ListSessionsRequest(states=[4, 99]), {"states[1]": STATES}),  # type: ignore[list-item]
    ("no mask", UpdateSessionRequest(session_id="one"), {"update_mask": "is required"}),
    (
        "empty mask",
        _mask(),
        {
            "update_mask.paths": PATHS.replace("must be one of", "must name at least one of"),
        },
    ),
    ("output path", _mask("labels", "status"), {"update_mask.paths[1]": PATHS}),
    ("star", _mask("*"), {"update_mask.paths[0]": PATHS}),
    ("id in the mask", _mask("session_id"), {"update_mask.paths[0]": PATHS}),
    ("camel case", _mask("settings.defaultRegion"), {"update_mask.paths[0]": PATHS}),
    ("a label's path", _mask("labels.team"), {"update_mask.paths[0]": PATHS}),
    (
        "pairing phone",
        ConnectSessionRequest(session_id="one", pairing_phone_number="1" * 33),
        {"pairing_phone_number": "must have at most 32 characters"},
    ),
    (
        "nothing to send",
        SendTextRequest(),
        {"session_id": NAME, "to": "must not be empty", "text": "is required"},
    ),
    ("no recipient", _text(to=""), {"to": "must not be empty"}),
    ("long recipient", _text(to="1" * 129), {"to": "must have at most 128 characters"}),
    ("empty text", _text(text=""), {"text.text": "must not be empty"}),
    ("long text", _text(text="t" * 65537), {"text.text": "must have at most 65,536 characters"}),
    ("long key of idempotency", _options(idempotency_key="k" * 129), {"options.idempotency_key": KEY}),
    ("spaced key", _options(idempotency_key="a b"), {"options.idempotency_key": KEY}),
    ("key beyond ASCII", _options(idempotency_key="\u00e9"), {"options.idempotency_key": KEY}),
    ("257 mentions", _options(mentions=["1"] * 257), {"options.mentions": "must have at most 256 items"}),
    (
        "quote without an id",
        _options(quoted=content_pb2.QuotedMessage(text="t")),
        {"options.quoted.message_id": "must not be empty"},
    ),
    (
        "long quote",
        _options(quoted=content_pb2.QuotedMessage(message_id="i" * 129, sender="s" * 129, text="t" * 4097)),
        {
            "options.quoted.message_id": "must have at most 128 characters",
            "options.quoted.sender": "must have at most 128 characters",
            "options.quoted.text": "must have at most 4,096 characters",
        },
    ),
    (
        "typing for long",
        _options(human=content_pb2.HumanSimulation(typing=Duration(seconds=60, nanos=1))),
        {"options.human.typing": "must be greater than or equal to 0s and less than or equal to 60s"},
    ),
    (
        "typing for less than no time",
        _options(human=content_pb2.HumanSimulation(typing=Duration(nanos=-1))),
        {"options.human.typing": "must be greater than or equal to 0s and less than or equal to 60s"},
    ),
    ("no image", _image(None), {"image": "is required"}),
    ("image without a source", _image(content_pb2.ImageContent(caption="c")), {"image.source": SOURCE}),
    (
        "source of nothing",
        _image(content_pb2.ImageContent(source=content_pb2.MediaSource())),
        {"image.source": "needs inline"},
    ),
    (
        "image of no bytes",
        _image(content_pb2.ImageContent(source=_inline(0))),
        {"image.source.inline": "must not be empty"},
    ),
    (
        "image too large",
        _image(content_pb2.ImageContent(source=_inline(16 * 1024 * 1024 + 1))),
        {"image.source.inline": "must have at most 16,777,216 bytes"},
    ),
    (
        "long caption",
        _image(content_pb2.ImageContent(source=_inline(1), caption="c" * 65537)),
        {"image.caption": "must have at most 65,536 characters"},
    ),
    ("no content", _any(None), {"content": "is required"}),
    ("content of no kind", _any(content_pb2.Content()), {"content": "needs exactly one of text, image"}),
    (
        "content that is received only",
        _any(content_pb2.Content(unknown=content_pb2.UnknownContent(kind="pollCreationMessage", raw=b"x"))),
        {"content.unknown": "is received only; what can be sent is text, image"},
    ),
    (
        "any image without a source",
        _any(content_pb2.Content(image=content_pb2.ImageContent())),
        {"content.image.source": SOURCE},
    ),
    (
        "any empty text",
        _any(content_pb2.Content(text=content_pb2.TextContent())),
        {"content.text.text": "must not be empty"},
    ),
    ("1001 sessions", SessionEventsRequest(session_ids=["a"] * 1001), {"session_ids": "must have at most 1,000 items"}),
    ("a bad session", SessionEventsRequest(session_ids=["a", "b c", "d"]), {"session_ids[1]": NAME}),
    ("unspecified kind", SessionEventsRequest(kinds=[0]), {"kinds[0]": KINDS}),  # type: ignore[list-item]
    ("unknown kind", SessionEventsRequest(kinds=[16]), {"kinds[0]": KINDS}),  # type: ignore[list-item]
    (
        "unknown position",
        SessionEventsRequest(position=3),  # type: ignore[arg-type]
        {"position": "must be one of START_POSITION_NOW, START_POSITION_EARLIEST"},
    ),
    ("empty cursor", SessionEventsRequest(cursor=""), {"cursor": "must not be empty"}),
    ("long cursor", SessionEventsRequest(cursor="p" * 65), {"cursor": "must have at most 64 characters"}),
    ("empty consumer", SessionEventsRequest(consumer=""), {"consumer": NAME}),
    (
        "hasty heartbeat",
        SessionEventsRequest(heartbeat_interval=Duration(nanos=999_999_999)),
        {"heartbeat_interval": "must be greater than or equal to 1s and less than or equal to 300s"},
    ),
    (
        "lazy heartbeat",
        SessionEventsRequest(heartbeat_interval=Duration(seconds=300, nanos=1)),
        {"heartbeat_interval": "must be greater than or equal to 1s and less than or equal to 300s"},
    ),
    (
        "acknowledging nothing",
        AcknowledgeEventsRequest(),
        {"consumer": NAME, "cursor": "must not be empty"},
    ),
]


@pytest.mark.parametrize("request_", [case[1] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(request_: Message) -> None:
    """The limits themselves are within the limits."""
    VALIDATION.check(request_)


@pytest.mark.parametrize(("request_", "fields"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(request_: Message, fields: dict[str, str]) -> None:
    """Every wrong field is named, with what is accepted, and no other."""
    with pytest.raises(InvalidArgumentError) as caught:
        VALIDATION.check(request_)
    assert {violation.field: violation.description for violation in caught.value.violations} == fields


async def test_a_client_sees_the_fields_and_the_core_sees_nothing() -> None:
    """In BadRequest, for calls and for streams alike."""
    bad = SendTextRequest(session_id="a b", to="", text=content_pb2.TextContent(text="t"))
    async with serving() as edge:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.SendText(bad)
        failure = failure_of(caught.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
        assert failure.fields == {"session_id": NAME, "to": "must not be empty"}
        assert failure.message == f"session_id: {NAME}; to: must not be empty"
        stream = edge.stub.SessionEvents(SessionEventsRequest(session_ids=["a b"]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert failure_of(caught.value).fields == {"session_ids[0]": NAME}
        assert edge.core.calls == []


async def test_at_most_16_fields_are_named() -> None:
    """Nobody reads a thousand, and they would not fit into a status."""
    async with serving() as edge:
        stream = edge.stub.SessionEvents(SessionEventsRequest(session_ids=["a b"] * 1000))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert list(failure_of(caught.value).fields) == [f"session_ids[{index}]" for index in range(16)]


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x1a\x02\x08"])
async def test_what_is_no_message_at_all_is_an_invalid_argument(body: bytes) -> None:
    """Cut off, or with text that is not UTF-8: gRPC itself would answer UNKNOWN with an exception's text."""
    async with serving() as edge:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        call = edge.channel.unary_unary("/wagateway.worker.v1.WorkerService/SendText", request_serializer=bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(body)
        failure = failure_of(caught.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
        assert failure.message == "the request is not a valid wagateway.worker.v1.SendTextRequest message"


async def test_fields_of_a_newer_contract_are_ignored() -> None:
    """Field 1000 with a number in it: the rest of the request is served."""
    async with serving() as edge:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        call = edge.channel.unary_unary("/wagateway.worker.v1.WorkerService/GetSession", request_serializer=bytes)
        body = GetSessionRequest(session_id="one").SerializeToString() + b"\xc0\x3e\x01"
        assert worker_pb2.GetSessionResponse.FromString(await call(body)).session.id == "one"


def _requests() -> list[Descriptor]:
    return [method.input_type for method in worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].methods]


def _fields(message: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        yield field
        if field.message_type is not None and field.message_type.full_name not in seen:
            yield from _fields(field.message_type, seen | {message.full_name})


def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    options = field.GetOptions()
    return options.Extensions[validate_pb2.field]


def test_every_pattern_of_the_contract_is_put_into_words() -> None:
    """A regular expression is no help to the reader of an error, and an unknown one would be an internal error."""
    rules = [_rules(field) for request in _requests() for field in _fields(request)]
    patterns = {rule.string.pattern for rule in rules} | {rule.repeated.items.string.pattern for rule in rules}
    assert patterns - {""} == set(PATTERNS)


def test_session_ids_and_consumers_follow_one_rule_everywhere() -> None:
    """They become parts of paths: nothing but a name gets past the edge."""
    fields = {field.full_name: field for request in _requests() for field in _fields(request)}
    named = [field for field in fields.values() if field.name in {"session_id", "session_ids", "consumer"}]
    assert len(named) >= 14
    for field in named:
        rule = _rules(field)
        pattern = rule.string.pattern or rule.repeated.items.string.pattern
        assert pattern == (
            "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$"
            if field.full_name.endswith("CreateSessionRequest.session_id")
            else "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
        )


@pytest.mark.parametrize(
    "text", ["a", "0._-", "a" * 64, "", "-a", ".", "a b", "a/b", "a" * 65, "a\n", "\u0661", "\u00e4"]
)
def test_the_contract_and_the_domain_agree_on_names(text: str) -> None:
    """The rule is stated in both, for different readers."""
    try:
        VALIDATION.check(GetSessionRequest(session_id=text))
        accepted = True
    except InvalidArgumentError:
        accepted = False
    assert accepted == is_name(text)


def test_every_path_of_the_mask_exists_and_every_kind_can_be_sent() -> None:
    """The lists of what is accepted are true."""
    for path in UPDATABLE:
        message: Descriptor | None = UpdateSessionRequest.DESCRIPTOR
        for part in path.split("."):
            assert message is not None
            message = message.fields_by_name[part].message_type
    for kind in SENDABLE:
        request = _any(content_pb2.Content())
        getattr(request.content, kind).SetInParent()
        with pytest.raises(InvalidArgumentError) as caught:
            VALIDATION.check(request)
        assert all(violation.field.startswith(f"content.{kind}.") for violation in caught.value.violations)


def test_every_request_of_the_contract_can_be_checked() -> None:
    """The rules compile; a wrong one would make every call of its method an internal error."""
    for request in _requests():
        message: Message = GetMessageClass(request)()
        try:
            VALIDATION.check(message)
        except InvalidArgumentError as error:
            assert error.violations  # noqa: PT017 - both outcomes are right, other exceptions are not
