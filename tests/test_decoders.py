"""What a stranger or a peer sends is an object or an error: never a crash, never a hang.

The bytes are random but the same in every run; what once failed stands first.
"""

import contextlib
import pickle
import random
import socket
import struct
import threading

import pytest
from library import load

# What reading may raise: the end, a broken frame, a lack of memory, or a pickle that
# is none.
REFUSALS = (
    EOFError,
    OSError,
    ValueError,
    MemoryError,
    OverflowError,
    pickle.UnpicklingError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
    UnicodeDecodeError,
)

ROUNDS = 300

# The first byte of a message with buffers beside its pickle.
BESIDE = 5


def numbers(chance: random.Random) -> list[int]:
    """Returns numbers such as stand in a message's head, and such as should not."""
    edges = (0, 1, 8, 63, 64, 100, 4096, 2**31, 2**32, 2**63 - 1, 2**64 - 1)
    return [chance.choice(edges) for _ in range(chance.randint(0, 6))]


def message(chance: random.Random) -> bytes:
    """Returns a message with a head of random numbers, or of random bytes."""
    rest = chance.randbytes(chance.choice((0, 1, 7, 100, 5_000)))
    if chance.random() < 0.3:
        return rest
    first = BESIDE if chance.random() < 0.9 else chance.randint(0, 2**64 - 1)
    head = [first, *numbers(chance)]
    return struct.pack(f"<{len(head)}Q", *head) + rest


@pytest.mark.procession_only("its queues carry pickles only")
def test_queue_gives_an_error_for_a_message_that_is_none(lib) -> None:
    chance, queue = random.Random(1), lib.Queue()
    heads = [(BESIDE, 2**64 - 1, 0), (BESIDE, 1, 2**64 - 8, 64), (BESIDE, 0, 0)]
    messages = [struct.pack(f"<{len(head)}Q", *head) for head in heads]
    messages += [message(chance) for _ in range(ROUNDS)]
    for each in messages:
        queue.put_bytes(each)
        with contextlib.suppress(*REFUSALS):
            queue.get(timeout=1)
        assert queue.empty()


def test_connection_gives_an_error_for_frames_that_are_none(lib) -> None:
    chance = random.Random(2)
    connection = load("connection")
    for _ in range(ROUNDS):
        here, there = socket.socketpair()
        frames = b""
        for number in numbers(chance):
            frames += struct.pack("!i", chance.choice((-1, -2, -3, 0, 5, number % 100)))
            frames += chance.choice((b"", struct.pack("!Q", number), message(chance)))
        with there:
            there.sendall(frames)
        end = connection.Connection(here.detach())
        with end, contextlib.suppress(*REFUSALS):
            while True:
                end.recv_bytes(10_000)


@pytest.mark.parametrize(
    "side",
    [
        "listener",
        pytest.param("client", marks=pytest.mark.procession_only("its client asserts")),
    ],
)
def test_handshake_refuses_whatever_is_no_answer(lib, side) -> None:
    chance = random.Random(3)
    connection = load("connection")
    words = (b"#CHALLENGE#", b"#WELCOME#", b"#FAILURE#", b"{sha256}", b"{md5}", b"}")
    for _ in range(40):
        here, there = socket.socketpair()

        def answer(there=there) -> None:
            with there, contextlib.suppress(OSError):
                for _ in range(4):
                    text = b"".join(chance.choices(words, k=2)) + chance.randbytes(
                        chance.choice((0, 16, 20, 32, 40))
                    )
                    there.sendall(struct.pack("!i", len(text)) + text)
                there.shutdown(socket.SHUT_WR)
                while there.recv(1000):
                    pass

        stranger = threading.Thread(target=answer)
        stranger.start()
        with connection.Connection(here.detach()) as end:
            check = (
                connection.deliver_challenge
                if side == "listener"
                else connection.answer_challenge
            )
            with pytest.raises((lib.AuthenticationError, EOFError, OSError)):
                check(end, b"a key that nobody knows")
        stranger.join()
