"""How two ends of a connection prove to each other that they know the same key.

The words on the wire are those of CPython 3.12 and later, which also understand older
ends: a challenge of 20 bytes, or an answer of 16, stands for MD5 without a name.
Neither end ever sends the key.

The end of a challenge of ours is not random: it tells the other end, if that is ours
too, that both have this package, and may send each other more than a stranger knows.
"""

from __future__ import annotations

import os
import time

from ._errors import AuthenticationError, TimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    # The messages between two ends, as seen from one: it yields each message that it
    # sends, and None for the next message of the other.
    Exchange = Generator[bytes | None, bytes | None, Any]

__all__ = ["answer_challenge", "deliver_challenge", "prove_async"]

# Bytes of a challenge; more than an old end sends, so that the two can be told apart.
MESSAGE_LENGTH = 40

# Where a challenge of ours ends; the rest of it, 28 bytes, is random.
_MARK = b"procession 1"

CHALLENGE = b"#CHALLENGE#"
WELCOME = b"#WELCOME#"
FAILURE = b"#FAILURE#"

# Sent instead of a challenge by a listener of procession that can take nobody on; the
# reason follows.
REFUSAL = b"#REFUSAL#"

# Seconds that a process which connects has for all of it.
HANDSHAKE = 20.0

# The error about a process that takes longer.
LATE = f"the process that connected has not proved in {HANDSHAKE:g} s that it knows the key"

# Bytes; no message of the exchange is longer.
MAX_MESSAGE = 256

_ALLOWED_DIGESTS = frozenset({b"md5", b"sha256", b"sha384", b"sha3_256", b"sha3_384"})
_MAX_DIGEST_LEN = max(map(len, _ALLOWED_DIGESTS))

# Bytes of an old end's challenge, and of its answer.
_MD5ONLY_MESSAGE_LENGTH = 20
_MD5_DIGEST_LEN = 16
_LEGACY_LENGTHS = (_MD5ONLY_MESSAGE_LENGTH, _MD5_DIGEST_LEN)


def deliver_challenge(
    connection: Any, authkey: bytes, digest_name: str = "sha256"
) -> None:
    """Asks the other end to prove that it knows the key.

    Raises:
        ValueError: The key is not bytes.
        AuthenticationError: It does not know the key.
    """
    _run(_asking(authkey, None, digest_name), connection)


def answer_challenge(connection: Any, authkey: bytes) -> None:
    """Proves to the other end that this end knows the key.

    Raises:
        ValueError: The key is not bytes.
        AuthenticationError: The other end rejects the proof, or breaks the protocol.
        ConnectionRefusedError: The listener cannot accept this process now.
    """
    _note(connection, _run(_answering(authkey), connection))


async def prove_async(connection: Any, authkey: bytes) -> None:
    """Proves the key to each other, at the end that connects, in a task.

    Raises:
        AuthenticationError: The other end does not know the key, or asks for another.
        ConnectionRefusedError: The listener cannot accept this process now.
    """
    for exchange in _answering(authkey), _asking(authkey, None, "sha256"):
        message: bytes | None = None
        while True:
            try:
                wanted = exchange.send(message)
            except StopIteration:
                break
            message = None
            if wanted is None:
                message = await connection.recv_bytes_async(MAX_MESSAGE)
            else:
                await connection.send_bytes_async(wanted)


def welcome(connection: Any, authkey: bytes, other: bytes | None = None) -> None:
    """Proves the key to each other, at the end that was connected to.

    A process that connects begins at once, so one that keeps silent, or sends a byte
    now and then, is no friend: it has `HANDSHAKE` seconds for its whole part.

    Args:
        connection: The connection.
        authkey: The key.
        other: A key that will do as well, and is the one to prove then.

    Raises:
        ValueError: The key is not bytes.
        AuthenticationError: It does not know the key, or has not told in time.
    """
    hurried = _Hurried(connection, HANDSHAKE)
    _note(connection, _run(welcoming(authkey, other), hurried))


def welcoming(authkey: bytes, other: bytes | None = None) -> Exchange:
    """Proves the key to each other, at the end that was connected to, in steps.

    It returns whether the other end is ours, too.
    """
    known = yield from _asking(authkey, other, "sha256")
    return (yield from _answering(known))


def _run(exchange: Exchange, connection: Any) -> Any:
    """Has an exchange pass on a connection; returns what it returns."""
    message: bytes | None = None
    while True:
        try:
            wanted = exchange.send(message)
        except StopIteration as end:
            return end.value
        message = None
        if wanted is None:
            message = connection.recv_bytes(MAX_MESSAGE)
        else:
            connection.send_bytes(wanted)


def refuse(connection: Any, why: str) -> None:
    """Tells a process that connects that it cannot be accepted, instead of a challenge."""
    connection.send_bytes((REFUSAL + why.encode())[:MAX_MESSAGE])


def _note(connection: Any, is_ours: bool) -> None:
    if is_ours and hasattr(connection, "_is_ours"):
        connection._is_ours = True


def _asking(authkey: bytes, other: bytes | None, digest_name: str) -> Exchange:
    """Asks the other end to prove that it knows one of two keys; returns which."""
    _check_key(authkey)
    random = os.urandom(MESSAGE_LENGTH - len(_MARK))
    message = b"{%s}%s%s" % (digest_name.encode("ascii"), random, _MARK)
    yield CHALLENGE + message
    response = yield None
    assert response is not None, "a message was asked for"
    known = authkey
    try:
        try:
            _verify_challenge(authkey, message, response)
        except AuthenticationError:
            if other is None:
                raise
            _verify_challenge(other, message, response)
            known = other
    except AuthenticationError:
        yield FAILURE
        raise
    yield WELCOME
    return known


def _answering(authkey: bytes) -> Exchange:
    """Proves the key to the other end; returns whether that is ours, too."""
    _check_key(authkey)
    message = yield None
    assert message is not None, "a message was asked for"
    if message.startswith(REFUSAL):
        raise ConnectionRefusedError(
            message.removeprefix(REFUSAL).decode("utf-8", "replace")
        )
    if not message.startswith(CHALLENGE):
        raise AuthenticationError(f"Protocol error, expected challenge: {message=}")
    message = message.removeprefix(CHALLENGE)
    if len(message) < _MD5ONLY_MESSAGE_LENGTH:
        raise AuthenticationError(f"challenge too short: {len(message)} bytes")
    yield _create_response(authkey, message)
    if (yield None) != WELCOME:
        raise AuthenticationError("digest sent was rejected")
    return message.endswith(_MARK)


class _Hurried:
    """A connection whose other end has yet to prove itself, in a short time."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection = connection
        self._end = time.monotonic() + seconds
        self.send_bytes = connection.send_bytes

    def recv_bytes(self, maxlength: int) -> bytes:
        left = max(self._end - time.monotonic(), 0.0)
        try:
            message: bytes = self._connection._recv_bytes_within(maxlength, left)
        except TimeoutError:
            raise AuthenticationError(LATE) from None
        return message


def _check_key(authkey: bytes) -> None:
    if not isinstance(authkey, bytes):
        # As in `multiprocessing`.
        raise ValueError(  # noqa: TRY004
            f"Authkey must be bytes, not {type(authkey)!s}"
        )


def _get_digest_name_and_payload(message: bytes) -> tuple[str, bytes]:
    """Splits a message into the digest that it names ("" for an old end) and the rest."""
    if len(message) in _LEGACY_LENGTHS:
        return "", message
    end = message.find(b"}", 1, _MAX_DIGEST_LEN + 2)
    if message.startswith(b"{") and end > 0:
        digest = message[1:end]
        if digest in _ALLOWED_DIGESTS:
            return digest.decode("ascii"), message[end + 1 :]
    raise AuthenticationError(
        "unsupported message length, missing digest prefix, "
        f"or unsupported digest: {message=}"
    )


def _create_response(authkey: bytes, message: bytes) -> bytes:
    """Returns the answer to a challenge, in the form that the challenge asks for."""
    import hmac

    name = _get_digest_name_and_payload(message)[0]
    if not name:
        try:
            return hmac.new(authkey, message, "md5").digest()
        except ValueError:
            # This build has no MD5: answered in the new form, which a new end
            # understands.
            name = "sha256"
    digest = hmac.new(authkey, message, name).digest()
    return b"{%s}%s" % (name.encode("ascii"), digest)


def _verify_challenge(authkey: bytes, message: bytes, response: bytes) -> None:
    """Raises AuthenticationError unless a response answers the challenge `message`."""
    import hmac

    name, mac = _get_digest_name_and_payload(response)
    try:
        expected = hmac.new(authkey, message, name or "md5").digest()
    except ValueError:
        raise AuthenticationError(f"{name=} unsupported") from None
    if len(expected) != len(mac):
        raise AuthenticationError(
            f"expected {name!r} of length {len(expected)} got {len(mac)}"
        )
    if not hmac.compare_digest(expected, mac):
        raise AuthenticationError("digest received was wrong")
