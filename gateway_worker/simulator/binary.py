"""Stanzas and their binary encoding, dictionary version 3.

A node is a list: tag, attributes as alternating keys and values, and at most one content. Strings of the protocol's
dictionary are one or two bytes, JIDs have forms of their own, everything else is length-prefixed. Inside this package a
JID is a string whatever its form on the wire; :func:`encode` recognises strings that are JIDs and gives them that form
again, because clients refuse to take a plain string for one.

The decoder takes bytes from the network: whatever they are, it returns a node or raises :class:`DecodeError`.
"""

from __future__ import annotations

import functools
import json
import re
import zlib
from importlib import resources
from typing import Final

from gateway_worker.simulator.stanza import Node

__all__ = ["MAX_DEPTH", "MAX_PAYLOAD", "CodecError", "DecodeError", "EncodeError", "Node", "decode", "encode"]

MAX_PAYLOAD: Final = 1 << 24
"""Bytes that a payload may have, before and after decompression: the frame's length has three bytes."""

MAX_DEPTH: Final = 24
"""Levels of nesting that are accepted; real stanzas stay below ten."""

_LIST_EMPTY: Final = 0
_DICTIONARY_0: Final = 236
_DICTIONARY_3: Final = 239
_INTEROP_JID: Final = 245
_FB_JID: Final = 246
_AD_JID: Final = 247
_LIST_8: Final = 248
_LIST_16: Final = 249
_JID_PAIR: Final = 250
_HEX_8: Final = 251
_BINARY_8: Final = 252
_BINARY_20: Final = 253
_BINARY_32: Final = 254
_NIBBLE_8: Final = 255

_COMPRESSED: Final = 2  # flag in a payload's first byte
_LIMIT_8: Final = 1 << 8
_LIMIT_16: Final = 1 << 16
_LIMIT_20: Final = 1 << 20

_SERVER: Final = "s.whatsapp.net"
_BARE_SERVERS: Final = frozenset({_SERVER, "g.us"})  # as an attribute's value these name the server itself, a JID
_AD_DOMAINS: Final = {0: _SERVER, 1: "lid", 128: "hosted", 129: "hosted.lid"}
_AD_DOMAIN_OF: Final = {server: domain for domain, server in _AD_DOMAINS.items()}
_JID_SERVERS: Final = frozenset(
    {*_AD_DOMAIN_OF, "g.us", "broadcast", "c.us", "newsletter", "call", "bot", "temp", "msgr", "interop"}
)
# Packed characters are four bits each; these map the digit of their hexadecimal form. "f" fills up the last byte.
_NIBBLES: Final = str.maketrans({"a": "-", "b": ".", "f": "\0"})
_NO_NIBBLES: Final = re.compile("[cde]")


class CodecError(Exception):
    """A node cannot be encoded or decoded."""


class DecodeError(CodecError):
    """The bytes are not an encoded node."""


class EncodeError(CodecError):
    """The node has no encoding: it is too large, too deep or has an empty tag."""


def _load_dictionary() -> tuple[list[str], list[list[str]]]:
    text = resources.files(__package__).joinpath("binary_tokens.json").read_text(encoding="utf-8")
    tables = json.loads(text)
    return tables["single_byte"], tables["double_byte"]


_SINGLE, _DOUBLE = _load_dictionary()
_TOKENS: Final[dict[str, bytes]] = {
    **{
        word: bytes((_DICTIONARY_0 + table, index))
        for table, words in enumerate(_DOUBLE)
        for index, word in enumerate(words)
    },
    **{word: bytes((index,)) for index, word in enumerate(_SINGLE) if index},
}

# A server that is an attribute's value is a JID without a user, though its name is in the dictionary as well.
_VALUE_TOKENS: Final[dict[str, bytes]] = _TOKENS | {
    server: bytes((_JID_PAIR, _LIST_EMPTY)) + _TOKENS[server] for server in _BARE_SERVERS
}


# --- encoding ---------------------------------------------------------------------------------------------------------


def encode(node: Node) -> bytes:
    """Encode a node as the payload of one frame, uncompressed.

    Raises:
        EncodeError: It is too large, too deep, or a tag or attribute's name is empty.
    """
    out = bytearray(1)  # the flags: not compressed
    try:
        _write_node(out, node, 0)
    except UnicodeEncodeError as error:
        raise EncodeError(f"a string cannot be written as UTF-8: {error.reason}") from None
    if len(out) >= MAX_PAYLOAD:
        raise EncodeError(f"a payload has less than {MAX_PAYLOAD} bytes, not {len(out)}")
    return bytes(out)


def _write_node(out: bytearray, node: Node, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise EncodeError(f"a stanza has at most {MAX_DEPTH} levels")
    if not node.tag:
        raise EncodeError("a node has a tag")
    attrs = node.attrs
    content = node.content
    has_content = bool(content) or content == b""
    count = sum(map(bool, attrs.values()))
    _write_list_start(out, 1 + 2 * count + has_content)
    out += _string(node.tag)
    for key, value in attrs.items():
        if not value:
            continue
        if not key:
            raise EncodeError(f"an attribute of <{node.tag}> has no name")
        out += _string(key)
        out += _VALUE_TOKENS.get(value) or _value(value)
    if not has_content:
        return
    if isinstance(content, list):
        _write_list_start(out, len(content))
        for child in content:
            _write_node(out, child, depth + 1)
    elif content is not None:
        out += _length_prefix(len(content))
        out += content


def _write_list_start(out: bytearray, size: int) -> None:
    if size < _LIMIT_8:
        out.append(_LIST_8)
        out.append(size)
    elif size < _LIMIT_16:
        out.append(_LIST_16)
        out += size.to_bytes(2, "big")
    else:
        raise EncodeError(f"a list has less than {_LIMIT_16} items, not {size}")


def _length_prefix(size: int) -> bytes:
    if size < _LIMIT_8:
        return bytes((_BINARY_8, size))
    if size < _LIMIT_20:
        return bytes((_BINARY_20,)) + size.to_bytes(3, "big")
    return bytes((_BINARY_32,)) + size.to_bytes(4, "big")


def _string(text: str) -> bytes:
    token = _TOKENS.get(text)
    if token is not None:
        return token
    raw = text.encode()
    return _length_prefix(len(raw)) + raw


def _value(text: str) -> bytes:
    """Encode an attribute's value that is not in the dictionary."""
    if "@" in text:
        return _jid(text)
    raw = text.encode()
    return _length_prefix(len(raw)) + raw


_AD_PATTERN: Final = re.compile(r"([^:@]+):([1-9][0-9]{0,2})")
_FB_PATTERN: Final = re.compile(r"([^:@]+)(?::([1-9][0-9]{0,4}))?")
_INTEROP_PATTERN: Final = re.compile(r"([1-9][0-9]{0,4}|0)-([^:@]+)(?::([1-9][0-9]{0,4}))?")


@functools.lru_cache(maxsize=1 << 15)
def _jid(text: str) -> bytes:
    """Encode a string with an ``@`` in it: in its JID form if it is one, else as a plain string."""
    user, _, server = text.rpartition("@")
    if server not in _JID_SERVERS or (not user and server in _BARE_SERVERS):
        return _string(text)
    return _special_jid(user, server) or (
        bytes((_JID_PAIR,)) + (_string(user) if user else bytes((_LIST_EMPTY,))) + _string(server)
    )


def _special_jid(user: str, server: str) -> bytes | None:
    """Encode the JIDs that carry a device; None when this one is written as a pair."""
    if server in _AD_DOMAIN_OF:
        match = _AD_PATTERN.fullmatch(user)
        if match and int(match[2]) < _LIMIT_8:
            return bytes((_AD_JID, _AD_DOMAIN_OF[server], int(match[2]))) + _string(match[1])
    elif server == "msgr":
        match = _FB_PATTERN.fullmatch(user)
        if match and (device := int(match[2] or 0)) < _LIMIT_16:
            return bytes((_FB_JID,)) + _string(match[1]) + device.to_bytes(2, "big") + _string(server)
    elif server == "interop":
        match = _INTEROP_PATTERN.fullmatch(user)
        if match and (device := int(match[3] or 0)) < _LIMIT_16 and int(match[1]) < _LIMIT_16:
            numbers = device.to_bytes(2, "big") + int(match[1]).to_bytes(2, "big")
            return bytes((_INTEROP_JID,)) + _string(match[2]) + numbers + _string(server)
    return None


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode(payload: bytes) -> Node:
    """Decode the payload of one frame, compressed or not.

    Raises:
        DecodeError: The bytes are not exactly one encoded node within the limits.
    """
    if not payload:
        raise DecodeError("a payload has at least its flags")
    data = _inflate(payload[1:]) if payload[0] & _COMPRESSED else payload
    reader = _Reader(data, 0 if data is not payload else 1)
    try:
        node = reader.node(0)
    except IndexError:
        raise DecodeError("the payload ends within a node") from None
    except UnicodeDecodeError:
        raise DecodeError("a string is not UTF-8") from None
    if reader.position != len(data):
        raise DecodeError(f"{len(data) - reader.position} bytes follow the node")
    return node


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        result = inflater.decompress(data, MAX_PAYLOAD)
    except zlib.error as error:
        raise DecodeError(f"the payload is not zlib data: {error}") from None
    if not inflater.eof:
        raise DecodeError(f"the compressed payload is cut off or larger than {MAX_PAYLOAD} bytes")
    return result


class _Reader:
    """A cursor over encoded bytes; reading past their end is an IndexError, or a DecodeError for a slice."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def byte(self) -> int:
        position = self.position
        self.position = position + 1
        return self.data[position]

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise DecodeError("a length points past the payload's end")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def list_size(self, tag: int) -> int:
        if tag == _LIST_8:
            return self.byte()
        if tag == _LIST_16:
            return self.integer(2)
        raise DecodeError(f"tag {tag} at {self.position} does not start a list")

    def node(self, depth: int) -> Node:
        if depth >= MAX_DEPTH:
            raise DecodeError(f"a stanza has at most {MAX_DEPTH} levels")
        size = self.list_size(self.byte())
        if size == 0:
            raise DecodeError("a node has a tag")
        tag = self.string()
        if not tag:
            raise DecodeError("a node has a tag")
        attrs = {}
        for _ in range((size - 1) >> 1):
            key = self.string()
            attrs[key] = self.string()
        return Node(tag, attrs, None if size & 1 else self.content(depth))

    def content(self, depth: int) -> list[Node] | bytes | None:
        tag = self.byte()
        if tag in (_LIST_8, _LIST_16):
            return [self.node(depth + 1) for _ in range(self.list_size(tag))]
        if tag == _LIST_EMPTY:
            return None
        size = self.binary_size(tag)
        return self.string_of(tag).encode() if size is None else self.take(size)

    def string(self) -> str:
        position = self.position
        tag = self.data[position]
        self.position = position + 1
        # Most strings are of the dictionary's first page: no call for them.
        return _SINGLE[tag] if _LIST_EMPTY < tag < _DICTIONARY_0 else self.string_of(tag)

    def string_of(self, tag: int) -> str:
        """Read the rest of a string or JID of which the tag has been read."""
        if _LIST_EMPTY < tag < _DICTIONARY_0:
            return _SINGLE[tag]
        size = self.binary_size(tag)
        if size is not None:
            return self.take(size).decode()
        if _DICTIONARY_0 <= tag <= _DICTIONARY_3:
            return _DOUBLE[tag - _DICTIONARY_0][self.byte()]
        if tag in (_NIBBLE_8, _HEX_8):
            return self.packed(hexadecimal=tag == _HEX_8)
        return "" if tag == _LIST_EMPTY else self.jid_of(tag)

    def jid_of(self, tag: int) -> str:
        """Read the rest of a JID of which the tag has been read."""
        if tag == _AD_JID:
            return self.ad_jid()
        if tag == _JID_PAIR:
            return self.jid_pair()
        if tag in (_FB_JID, _INTEROP_JID):
            return self.foreign_jid(interop=tag == _INTEROP_JID)
        raise DecodeError(f"tag {tag} at {self.position} is not a string")

    def binary_size(self, tag: int) -> int | None:
        """Read a binary's length; None when the tag is of something else."""
        if tag == _BINARY_8:
            return self.byte()
        if tag == _BINARY_20:
            return self.integer(3) & (_LIMIT_20 - 1)
        if tag == _BINARY_32:
            return self.integer(4)
        return None

    def packed(self, *, hexadecimal: bool) -> str:
        header = self.byte()
        text = self.take(header & 127).hex()
        if hexadecimal:
            text = text.upper()
        elif _NO_NIBBLES.search(text):
            raise DecodeError("a packed string has a character that is no digit, dash or dot")
        else:
            text = text.translate(_NIBBLES)
        return text[:-1] if header & 128 else text

    def user(self) -> str:
        """Read the user part of a JID: a string that is not itself a JID, so that forms cannot nest."""
        tag = self.byte()
        if tag in (_AD_JID, _JID_PAIR, _FB_JID, _INTEROP_JID):
            raise DecodeError("a JID's part is a JID")
        return self.string_of(tag)

    def jid_pair(self) -> str:
        user = self.user()
        server = self.user()
        if not server:
            raise DecodeError("a JID has a server")
        return server if not user and server in _BARE_SERVERS else f"{user}@{server}"

    def ad_jid(self) -> str:
        domain = self.byte()
        device = self.byte()
        server = _AD_DOMAINS.get(domain)
        if server is None:
            raise DecodeError(f"{domain} is no domain of a device's JID")
        user = self.user()
        return f"{user}:{device}@{server}" if device else f"{user}@{server}"

    def foreign_jid(self, *, interop: bool) -> str:
        user = self.user()
        device = self.integer(2)
        prefix = f"{self.integer(2)}-" if interop else ""
        server = self.user()
        if server != ("interop" if interop else "msgr"):
            raise DecodeError(f"{server!r} is not this JID's server")
        return f"{prefix}{user}:{device}@{server}" if device else f"{prefix}{user}@{server}"
