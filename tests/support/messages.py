"""Hypothesis strategies for any message of the contract, drawn from its descriptors."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

MARK = "\N{SNOWMAN}private"
"""Part of the odd texts, so that a test can tell whether one comes back."""


def _mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Usual values with an odd one now and then, or else no request with many fields would ever be right."""
    return st.integers(0, 11).flatmap(lambda roll: odd if roll == 7 else usual)


_ODD_TEXTS = st.one_of(
    st.just(""),
    st.text(max_size=20).map(lambda text: MARK + text),
    st.text(alphabet="x", min_size=60, max_size=140).map(lambda text: MARK + text),
)
_TEXTS = _mostly(st.sampled_from(["one", "a.b-c_d", "p5"]), _ODD_TEXTS)
_TEXTS_BY_FIELD = {
    "default_region": _mostly(st.sampled_from(["ID", "DE", ""]), _ODD_TEXTS),
    "paths": _mostly(st.sampled_from(["labels", "settings", "settings.device_name"]), _ODD_TEXTS),
}
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BYTES: _mostly(st.binary(min_size=1, max_size=40), st.just(b"")),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: _mostly(st.integers(0, 1000), st.integers(-(2**31), 2**31 - 1)),
    FieldDescriptor.TYPE_INT64: _mostly(st.integers(1, 59), st.integers(-(2**63), 2**63 - 1)),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
}


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor) -> Message:
    """Any message of a type: each field set or not, to a value that may break every rule but protobuf's own."""
    message: Message = GetMessageClass(descriptor)()
    chosen = {oneof.name: draw(st.sampled_from(list(oneof.fields))) for oneof in descriptor.oneofs}
    for field in descriptor.fields:
        in_its_oneof = field.containing_oneof is None or chosen[field.containing_oneof.name] is field
        if in_its_oneof and draw(_mostly(st.just(True), st.just(False))):  # noqa: FBT003 - a value
            _set(draw, message, field)
    return message


def _set(draw: st.DrawFn, message: Message, field: FieldDescriptor) -> None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        getattr(message, field.name).update(draw(st.dictionaries(_TEXTS, _TEXTS, max_size=3)))
    elif kind is not None and field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(messages(kind), max_size=3)))
    elif kind is not None:
        getattr(message, field.name).CopyFrom(draw(messages(kind)))
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(_scalar(field), max_size=4)))
    else:
        setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        defined = [value.number for value in field.enum_type.values if value.number != 0]
        return _mostly(st.sampled_from(defined), st.integers(-5, 200))
    if field.type == FieldDescriptor.TYPE_STRING:
        return _TEXTS_BY_FIELD.get(field.name, _TEXTS)
    return _SCALARS[field.type]
