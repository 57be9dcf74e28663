"""The binary codec over all nodes and all bytes, not only those that a friendly client sends."""

from __future__ import annotations

import string
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway_worker.simulator.binary import MAX_DEPTH, DecodeError, EncodeError, Node, decode, encode

_WORDS = st.sampled_from(["message", "to", "s.whatsapp.net", "lid", "g.us", "@lid", "1@lid", "0", "-1.5", "AF09"])
_TEXT = st.one_of(_WORDS, st.text(st.characters(codec="utf-8"), min_size=1, max_size=300))
_NUMBERS = st.text(string.digits, min_size=1, max_size=15)
_SERVERS = st.sampled_from(["s.whatsapp.net", "lid", "hosted", "hosted.lid", "g.us", "msgr", "interop", "newsletter"])
_JIDS = st.one_of(
    st.builds("{}@{}".format, _NUMBERS, _SERVERS),
    st.builds("{}:{}@{}".format, _NUMBERS, st.integers(0, 70_000), _SERVERS),
    st.builds("{}-{}:{}@interop".format, st.integers(0, 70_000), _NUMBERS, st.integers(0, 70_000)),
)


def _nodes(content: st.SearchStrategy[object]) -> st.SearchStrategy[Node]:
    attrs = st.dictionaries(_TEXT, st.one_of(_TEXT, _JIDS), max_size=6)
    return st.builds(Node, _TEXT, attrs, content)


_NODES = st.recursive(
    _nodes(st.one_of(st.none(), st.binary(max_size=300))),
    lambda children: _nodes(st.lists(children, min_size=1, max_size=5)),
    max_leaves=12,
)


@settings(deadline=None)  # the machine may be busy
@given(_NODES)
@example(Node("a", {"b": "@s.whatsapp.net", "c": "x@y@lid", "d": "1:0@lid", "e": "1:256@lid", "f": "a:b@msgr"}, b""))
def test_a_decoded_encoding_is_the_node(node: Node) -> None:
    """Whatever a node holds, its encoding says the same, compressed or not."""
    payload = encode(node)

    assert decode(payload) == node
    assert decode(b"\x02" + zlib.compress(payload[1:])) == node


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x00")
@example(b"\x02")
@example(b"\x00\xf8\x01")
@example(b"\x00\xf8\x02\x13\xfe\xff\xff\xff\xff")
@example(b"\x00\xf8\x02\x13\xf9\xff\xff")
def test_garbage_is_a_decode_error_or_a_node(payload: bytes) -> None:
    """No bytes raise anything but the codec's own error."""
    try:
        node = decode(payload)
    except DecodeError:
        return
    assert node.tag


@settings(deadline=None)  # the machine may be busy
@given(_NODES, st.data())
def test_damaged_encodings_are_a_decode_error_or_a_node(node: Node, data: st.DataObject) -> None:
    """Bytes that are almost right reach deeper into the decoder than random ones."""
    payload = bytearray(encode(node))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    for damaged in (bytes(payload), bytes(payload[:cut])):
        try:
            decode(damaged)
        except DecodeError:
            continue


@settings(deadline=None)  # the machine may be busy
@given(_NODES)
def test_a_cut_or_prolonged_encoding_is_refused(node: Node) -> None:
    """A payload is exactly one node."""
    payload = encode(node)

    for wrong in (payload[:-1], payload + b"\x00"):
        with pytest.raises(DecodeError):
            decode(wrong)


@settings(deadline=None)  # the machine may be busy
@given(st.integers(MAX_DEPTH + 1, MAX_DEPTH * 3))
def test_depth_is_limited_both_ways(depth: int) -> None:
    """A deep stanza ends in the codec's error, not in the interpreter's recursion limit."""
    node = Node("a")
    payload = b"\xf8\x01\x13"
    for _ in range(depth):
        node = Node("a", {}, [node])
        payload = b"\xf8\x02\x13\xf8\x01" + payload

    with pytest.raises(EncodeError, match="levels"):
        encode(node)
    with pytest.raises(DecodeError, match="levels"):
        decode(b"\x00" + payload)


def test_a_compression_bomb_is_refused() -> None:
    """Decompression stops at the limit instead of filling the memory."""
    bomb = b"\x02" + zlib.compress(bytes(1 << 26), 9)

    with pytest.raises(DecodeError, match="larger than"):
        decode(bomb)
