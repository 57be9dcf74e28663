"""X3DH: how a session begins, at either end.

Both ends compute three or four Diffie-Hellman secrets over identity, base and prekeys, put 32 bytes of 0xFF before
them (X3DH's domain separation for Curve25519) and derive the first root and chain key from all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_worker.simulator.signal.chains import hkdf, split_secrets
from gateway_worker.simulator.signal.errors import InvalidKeyError, InvalidMessageError
from gateway_worker.simulator.signal.keys import KeyPair
from gateway_worker.simulator.signal.session import Initiation, Session

if TYPE_CHECKING:
    from gateway_worker.simulator.signal.chains import ChainKey, RootKey
    from gateway_worker.simulator.signal.keys import PreKeyBundle
    from gateway_worker.simulator.signal.wire import PreKeySignalMessage

_DISCONTINUITY = b"\xff" * 32


def initiate(identity: KeyPair, registration_id: int, bundle: PreKeyBundle) -> Session:
    """Begin a session with the device that published a bundle.

    Args:
        identity: This device's identity.
        registration_id: This device's registration id.
        bundle: The other device's bundle.

    Raises:
        InvalidSignatureError: the bundle's signed prekey is not its identity's.
        InvalidKeyError: a key in the bundle is not usable.
    """
    bundle.verify()
    base = KeyPair.generate()
    secrets = [
        identity.agree(bundle.signed_pre_key),
        base.agree(bundle.identity),
        base.agree(bundle.signed_pre_key),
    ]
    if bundle.pre_key is not None:
        secrets.append(base.agree(bundle.pre_key))
    root, receiver_chain = _derive(secrets)
    ratchet = KeyPair.generate()
    root, sender_chain = root.ratchet(ratchet, bundle.signed_pre_key)
    session = Session(
        local_identity=identity.public,
        remote_identity=bundle.identity,
        base_key=base.public,
        root=root,
        sender_ratchet=ratchet,
        sender_chain=sender_chain,
        initiation=Initiation(registration_id, bundle.pre_key_id, bundle.signed_pre_key_id, base.public),
    )
    # The responder's first sending chain is its signed prekey's: it may be used before any ratchet step.
    session.add_receiver_chain(bundle.signed_pre_key, receiver_chain)
    return session


def respond(
    identity: KeyPair, signed_pre_key: KeyPair, one_time_pre_key: KeyPair | None, message: PreKeySignalMessage
) -> Session:
    """Build the session that a prekey message begins.

    Args:
        identity: This device's identity.
        signed_pre_key: The signed prekey that the message names.
        one_time_pre_key: The one-time prekey that the message names, if it names one.
        message: The message. It is not authenticated here: decrypting the message inside does that.

    Raises:
        InvalidMessageError: a key in the message is not usable.
    """
    try:
        secrets = [
            signed_pre_key.agree(message.identity),
            identity.agree(message.base_key),
            signed_pre_key.agree(message.base_key),
        ]
        if one_time_pre_key is not None:
            secrets.append(one_time_pre_key.agree(message.base_key))
    except InvalidKeyError as error:
        raise InvalidMessageError("a key in the message is not usable") from error
    root, sender_chain = _derive(secrets)
    return Session(
        local_identity=identity.public,
        remote_identity=message.identity,
        base_key=message.base_key,
        root=root,
        sender_ratchet=signed_pre_key,
        sender_chain=sender_chain,
    )


def _derive(secrets: list[bytes]) -> tuple[RootKey, ChainKey]:
    return split_secrets(hkdf(_DISCONTINUITY + b"".join(secrets), info=b"WhisperText", length=64))
