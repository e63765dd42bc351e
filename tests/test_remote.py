"""Connections to strangers: families of addresses, keys, and messages of every size."""

import hmac
import os
import socket
import struct
import threading

import pytest
from library import PATIENCE, load


@pytest.fixture(scope="module", autouse=True)
def folder(lib) -> None:
    """Makes the folder for sockets, which the library keeps until the end."""
    load("util").get_temp_dir()


@pytest.fixture
def accept(lib):
    """Returns a function that accepts one connection in a thread, and what came of it."""
    threads = []

    def accept(listener):
        outcome = []

        def run() -> None:
            try:
                outcome.append(listener.accept())
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)

        def result():
            thread.join(PATIENCE)
            return outcome[0]

        return result

    yield accept
    for thread in threads:
        thread.join(PATIENCE)


@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX", "abstract", None])
def test_client_finds_the_listener_at_its_address(accept, tmp_path, family) -> None:
    connection = load("connection")
    address = {
        "AF_INET": ("127.0.0.1", 0),
        "AF_UNIX": str(tmp_path / "socket"),
        "abstract": b"\0procession-test-%d" % os.getpid(),
    }.get(family)
    with connection.Listener(address) as listener:
        accepted = accept(listener)
        with connection.Client(listener.address) as client, accepted() as server:
            client.send(["a message"])
            assert server.recv() == ["a message"]
            server.send_bytes(b"bytes")
            assert client.recv_bytes() == b"bytes"
        assert family != "AF_INET" or listener.last_accepted[0] == "127.0.0.1"
        path = listener.address
    assert family != "AF_UNIX" or not os.path.exists(path)


def test_listener_that_is_closed_accepts_nobody(lib) -> None:
    connection = load("connection")
    listener = connection.Listener()
    address = listener.address
    listener.close()
    with pytest.raises(OSError, match="closed"):
        listener.accept()
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        connection.Client(address)


@pytest.mark.parametrize("key", ["text", bytearray(b"key")])
def test_key_that_is_not_bytes_is_refused(lib, key) -> None:
    connection = load("connection")
    with pytest.raises(TypeError):
        connection.Listener(authkey=key)
    with pytest.raises(TypeError):
        connection.Client("/nowhere", authkey=key)


def test_ends_with_one_key_are_connected_and_others_are_refused(lib, accept) -> None:
    connection = load("connection")
    with connection.Listener(authkey=b"the key") as listener:
        accepted = accept(listener)
        with connection.Client(listener.address, authkey=b"the key") as client:
            client.send("known")
            with accepted() as server:
                assert server.recv() == "known"
        accepted = accept(listener)
        with pytest.raises(lib.AuthenticationError):
            connection.Client(listener.address, authkey=b"another")
        assert isinstance(accepted(), lib.AuthenticationError)


class Recorded:
    """A connection that says what it was told to say, and remembers the rest."""

    def __init__(self, *incoming: bytes) -> None:
        self.incoming, self.sent = list(incoming), []

    def recv_bytes(self, maxlength: int) -> bytes:
        message = self.incoming.pop(0)
        assert len(message) <= maxlength
        return message

    def send_bytes(self, message: bytes) -> None:
        self.sent.append(message)


@pytest.mark.procession_only("before CPython 3.12 it knows MD5 only")
@pytest.mark.parametrize("digest", ["md5", "sha256", "sha384", "sha3_256"])
def test_challenge_is_answered_by_the_digest_that_it_names(lib, digest) -> None:
    message = b"{%s}" % digest.encode() + bytes(range(40))
    end = Recorded(b"#CHALLENGE#" + message, b"#WELCOME#")
    load("connection").answer_challenge(end, b"key")
    mac = hmac.new(b"key", message, digest).digest()
    assert end.sent == [b"{%s}" % digest.encode() + mac]


def test_challenge_of_an_old_end_is_answered_by_md5(lib) -> None:
    message = bytes(range(20))
    end = Recorded(b"#CHALLENGE#" + message, b"#WELCOME#")
    load("connection").answer_challenge(end, b"key")
    assert end.sent == [hmac.new(b"key", message, "md5").digest()]


@pytest.mark.parametrize(
    "incoming",
    [
        [b"something else"],
        [b"#CHALLENGE#{sha256}" + bytes(40), b"#FAILURE#"],
        [b"#CHALLENGE#"],
    ],
)
def test_end_that_does_not_keep_to_the_protocol_is_refused(lib, incoming) -> None:
    with pytest.raises((lib.AuthenticationError, AssertionError)):
        load("connection").answer_challenge(Recorded(*incoming), b"key")


def test_no_challenge_is_like_another_and_the_key_is_never_sent(lib) -> None:
    sent = set()
    for _ in range(20):
        end = Recorded(b"wrong")
        with pytest.raises(lib.AuthenticationError):
            load("connection").deliver_challenge(end, b"the key")
        sent.add(end.sent[0])
        assert b"the key" not in b"".join(end.sent)
        assert end.sent[1] == b"#FAILURE#"
    assert len(sent) == 20


def is_short_of(size: int) -> bool:
    with open("/proc/meminfo") as file:
        kibibytes = {line.split()[0]: int(line.split()[1]) for line in file}
    return kibibytes["MemAvailable:"] * 1024 < size


HUGE = (1 << 31) + 17

huge = pytest.mark.skipif(
    is_short_of(8 << 30), reason="messages of 2 GiB need 8 GiB of free memory"
)


@pytest.mark.skipif(is_short_of(16 << 30), reason="needs 16 GiB of free memory")
@pytest.mark.slow
def test_message_of_more_than_two_gigabytes_goes_through_a_pipe(lib) -> None:
    receiver, sender = lib.Pipe(duplex=False)
    # Not all of it: memory that nobody writes to costs nothing.
    message = bytearray(HUGE)
    message[-5:] = b"of it"
    thread = threading.Thread(target=sender.send_bytes, args=(message,))
    with receiver, sender:
        thread.start()
        received = receiver.recv_bytes()
        thread.join()
    assert (len(received), received[-5:]) == (HUGE, b"of it")


@huge
@pytest.mark.slow
def test_message_of_more_than_two_gigabytes_is_sent_as_to_a_stranger(lib) -> None:
    near, far = socket.socketpair()
    heads = []

    def read() -> None:
        heads.append(near.recv(12, socket.MSG_WAITALL))
        buffer, left = bytearray(1 << 20), HUGE
        while left:
            left -= near.recv_into(buffer, min(left, len(buffer)))

    thread = threading.Thread(target=read)
    with near, load("connection").Connection(far.detach()) as connection:
        thread.start()
        connection.send_bytes(memoryview(bytearray(HUGE)))
        thread.join()
    assert heads == [struct.pack("!iQ", -1, HUGE)]


@huge
@pytest.mark.slow
def test_message_of_more_than_two_gigabytes_is_received_from_a_stranger(lib) -> None:
    near, far = socket.socketpair()

    def write() -> None:
        near.sendall(struct.pack("!iQ", -1, HUGE))
        buffer, left = bytes(1 << 20), HUGE
        while left:
            left -= near.send(memoryview(buffer)[:left])

    thread = threading.Thread(target=write)
    with near, load("connection").Connection(far.detach()) as connection:
        thread.start()
        assert len(connection.recv_bytes()) == HUGE
        thread.join()
