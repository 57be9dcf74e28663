"""The server's side of the handshake, against the client's side written independently."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_worker.simulator.frames import Deframer, FrameError, frame
from gateway_worker.simulator.noise import NoiseError, Responder, ServerIdentity
from gateway_worker.simulator.signal.errors import InvalidSignatureError
from gateway_worker.waproto import wa6
from tests.support.wa_client import PROLOGUE, ClientKeys, Initiator

IDENTITY = ServerIdentity.generate()


def test_both_sides_agree() -> None:
    """After three messages each side reads what the other encrypts, and the server knows the client."""
    keys = ClientKeys()
    initiator, responder = Initiator(IDENTITY.root, keys), Responder(IDENTITY)

    established = responder.finish(initiator.finish(responder.hello(initiator.hello())))
    send, receive = initiator.ciphers()

    assert established.client_static == keys.noise.public
    assert established.payload.devicePairingData.eIdent == keys.identity.public
    for number in range(3):
        nonce = bytes(8) + number.to_bytes(4, "big")
        assert established.transport.decrypt(send.encrypt(nonce, b"up", None)) == b"up"
        assert receive.decrypt(nonce, established.transport.encrypt(b"down"), None) == b"down"


def test_a_client_with_another_root_refuses_the_server() -> None:
    """The chain leads to the simulator's root and to no other."""
    initiator = Initiator(ServerIdentity.generate().root, ClientKeys())
    hello = Responder(IDENTITY).hello(initiator.hello())

    with pytest.raises(InvalidSignatureError):
        initiator.finish(hello)


def test_a_frame_out_of_order_does_not_decrypt() -> None:
    """Frames count: a repeated one is no frame."""
    initiator, responder = Initiator(IDENTITY.root, ClientKeys()), Responder(IDENTITY)
    transport = responder.finish(initiator.finish(responder.hello(initiator.hello()))).transport
    frame_0 = initiator.ciphers()[0].encrypt(bytes(12), b"once", None)

    assert transport.decrypt(frame_0) == b"once"
    with pytest.raises(NoiseError):
        transport.decrypt(frame_0)


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=200))
def test_garbage_is_no_hello(data: bytes) -> None:
    """Whatever a stranger sends first, it ends in the handshake's own error."""
    with pytest.raises(NoiseError):
        Responder(IDENTITY).hello(data)


@settings(deadline=None)  # the machine may be busy
@given(st.data())
def test_a_damaged_finish_is_refused(data: st.DataObject) -> None:
    """One changed byte in the last message ends in the handshake's own error."""
    initiator, responder = Initiator(IDENTITY.root, ClientKeys()), Responder(IDENTITY)
    finish = bytearray(initiator.finish(responder.hello(initiator.hello())))
    position = data.draw(st.integers(0, len(finish) - 1))
    finish[position] ^= data.draw(st.integers(1, 255))

    with pytest.raises(NoiseError):
        responder.finish(bytes(finish))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytes(32)], ids=["none", "short", "long", "small order"])
def test_a_hello_with_a_bad_key_is_refused(key: bytes) -> None:
    """A key of another size, or one without a secret, is no key."""
    hello = wa6.HandshakeMessage(clientHello=wa6.HandshakeMessage.ClientHello(ephemeral=key))
    with pytest.raises(NoiseError):
        Responder(IDENTITY).hello(hello.SerializeToString())


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.binary(max_size=50), max_size=10), st.lists(st.integers(0, 400), max_size=10))
def test_frames_come_out_as_they_went_in(frames: list[bytes], cuts: list[int]) -> None:
    """However the stream is cut into pieces, its frames are the same."""
    stream = PROLOGUE + b"".join(map(frame, frames))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    deframer = Deframer()

    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert [taken for piece in pieces for taken in deframer.feed(piece)] == frames


@pytest.mark.parametrize("opening", [b"GET / HTTP/1.1", b"WA\x05\x03", b"XX"])
def test_a_stream_that_opens_otherwise_is_refused(opening: bytes) -> None:
    """The first bytes say that this is WhatsApp, in this version; a wrong one is noticed at once."""
    with pytest.raises(FrameError, match="opens with"):
        list(Deframer().feed(opening))


def test_a_frame_has_a_limit() -> None:
    """What three bytes of length cannot say is refused."""
    with pytest.raises(FrameError, match="at most"):
        frame(bytes(1 << 24))
