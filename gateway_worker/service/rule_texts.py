"""Broken rules in words: which field, and what it accepts.

protovalidate names a rule and its limit (``string.pattern`` with the expression). People want to know what to write
instead. No text ever holds a value of the request: neither a label's key nor a phone number comes back in an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor
from protovalidate import FieldPathElementPb
from protovalidate import Violation as BrokenRule

from gateway_worker.domain.errors import Violation
from gateway_worker.service.request_rules import RECEIVED_ONLY

_NAME = "a letter or digit, then up to 63 letters, digits, dots, underscores and hyphens"

PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": f"must be {_NAME}",
        "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$": f"must be empty or {_NAME}",
        "^([A-Z]{2})?$": "must be empty or an ISO 3166-1 alpha-2 region in capitals, for example ID",
        "^[!-~]{0,128}$": "must be up to 128 printable ASCII characters without spaces",
    }
)
"""What the contract's regular expressions mean."""

_LIMITS: Mapping[str, Callable[[int], str]] = MappingProxyType(
    {
        "string.min_len": lambda least: "must not be empty" if least == 1 else f"must have at least {least} characters",
        "string.max_len": lambda most: f"must have at most {most:,} characters",
        "bytes.min_len": lambda least: "must not be empty" if least == 1 else f"must have at least {least} bytes",
        "bytes.max_len": lambda most: f"must have at most {most:,} bytes",
        "repeated.max_items": lambda most: f"must have at most {most:,} items",
        "map.max_pairs": lambda most: f"must have at most {most:,} entries",
    }
)


def describe(broken: BrokenRule, message: Descriptor) -> Violation:
    """Put a broken rule into words.

    Args:
        broken: What protovalidate found.
        message: Type of the request in which it found it.
    """
    path = broken.proto.field.elements if broken.proto.field is not None else []
    target = _resolve(path, message)
    text = _requirement(broken, target)
    if path and path[-1].subscript is not None and path[-1].subscript.field != "index":
        text = f"a key {text}" if broken.proto.for_key else f"a value {text}"
    return Violation(_dotted(path, target), text)


def _requirement(broken: BrokenRule, target: FieldDescriptor | OneofDescriptor) -> str:
    rule = broken.proto.rule_id
    if isinstance(target, OneofDescriptor):
        names = [field.name for field in target.fields if field.name not in RECEIVED_ONLY]
        return f"needs exactly one of {', '.join(names)}" if len(names) > 1 else f"needs {names[0]}"
    if rule == "required":
        return "is required"
    if rule == "string.pattern":
        return PATTERNS[broken.rule_value]
    if target.enum_type is not None:
        return f"must be one of {', '.join(_accepted(target.enum_type))}"
    if rule in _LIMITS:
        return _LIMITS[rule](broken.rule_value)
    return str(broken.proto.message)  # numbers and durations: protovalidate's own texts name both ends of the range


def _accepted(enum: EnumDescriptor) -> list[str]:
    return [value.name for value in enum.values if value.number != 0]


def _resolve(path: Sequence[FieldPathElementPb], message: Descriptor) -> FieldDescriptor | OneofDescriptor:
    """What a path leads to: a field, or a oneof of the last message on the way."""
    *parents, last = path
    for element in parents:
        # a path goes on through fields that hold messages only
        message = cast("Descriptor", message.fields_by_number[element.field_number].message_type)
    if last.field_number == 0:
        return message.oneofs_by_name[last.field_name]
    return message.fields_by_number[last.field_number]


def _dotted(path: Sequence[FieldPathElementPb], target: FieldDescriptor | OneofDescriptor) -> str:
    """``options.mentions[2]``; a oneof is named by the message that holds it, a map's entry by the map."""
    if isinstance(target, OneofDescriptor):
        path = path[:-1]
    return ".".join(f"{element.field_name}{_index(element)}" for element in path)


def _index(element: FieldPathElementPb) -> str:
    subscript = element.subscript
    return f"[{subscript.value}]" if subscript is not None and subscript.field == "index" else ""
