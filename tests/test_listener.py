"""Who connects to a listener, and knows the key or does not.

What passes between the two before the key is proven comes from a stranger: it is short,
in time, and never unpickled.
"""

import importlib
import socket
import struct
import threading

import pytest
from library import MOMENT, PATIENCE

KEY = b"a key that both know"


@pytest.fixture(params=["AF_UNIX", "AF_INET"])
def listener(request, lib, tmp_path):
    connection = importlib.import_module(f"{lib.__name__}.connection")
    is_file = request.param == "AF_UNIX"
    address = str(tmp_path / "door") if is_file else ("localhost", 0)
    with connection.Listener(address, backlog=8, authkey=KEY) as listener:
        yield listener


@pytest.fixture
def stranger(listener):
    """Returns a socket that is connected to the listener and has said nothing."""
    address = listener.address
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as stranger:
        stranger.settimeout(PATIENCE)
        stranger.connect(address)
        yield stranger


def greet(lib, listener) -> None:
    """Has a friend connect, as nobody before it may prevent."""
    connection = importlib.import_module(f"{lib.__name__}.connection")
    answers = []

    def be_a_friend() -> None:
        with connection.Client(listener.address, authkey=KEY) as client:
            client.send("hello")
            answers.append(client.recv())

    friend = threading.Thread(target=be_a_friend)
    friend.start()
    with listener.accept() as accepted:
        assert accepted.recv() == "hello"
        accepted.send("goodbye")
        friend.join(PATIENCE)
    assert answers == ["goodbye"]


def test_friend_is_let_in(lib, listener) -> None:
    greet(lib, listener)


def test_stranger_with_another_key_is_refused(lib, listener) -> None:
    connection = importlib.import_module(f"{lib.__name__}.connection")
    refusals = []

    def connect() -> None:
        try:
            connection.Client(listener.address, authkey=b"another").close()
        except lib.AuthenticationError as error:
            refusals.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    with pytest.raises(lib.AuthenticationError):
        listener.accept()
    thread.join(PATIENCE)
    assert len(refusals) == 1
    greet(lib, listener)


@pytest.mark.procession_only("it waits for ever")
@pytest.mark.parametrize("said", [b"", struct.pack("!i", 60) + b"x"])
def test_stranger_that_keeps_silent_is_not_waited_for(
    lib, listener, stranger, monkeypatch, said
) -> None:
    challenge = importlib.import_module("procession._challenge")
    monkeypatch.setattr(challenge, "HANDSHAKE", 0.2)
    stranger.sendall(said)
    with pytest.raises(lib.AuthenticationError, match="has not proved"):
        listener.accept()
    monkeypatch.undo()
    greet(lib, listener)


@pytest.mark.parametrize("length", [1 << 30, -5])
def test_stranger_that_says_too_much_is_not_listened_to(
    lib, listener, stranger, length
) -> None:
    stranger.sendall(struct.pack("!i", length) + b"x" * 1000)
    with pytest.raises((lib.AuthenticationError, OSError)):
        listener.accept()
    greet(lib, listener)


def test_stranger_that_hangs_up_is_an_error_and_no_harm(
    lib, listener, stranger
) -> None:
    stranger.close()
    with pytest.raises((EOFError, OSError)):
        listener.accept()
    greet(lib, listener)


def test_address_that_a_listener_makes_up_leaves_nothing(lib, program) -> None:
    # The fixture that looks for what is left sees a file or a directory, too.
    code, out, err = program("""
        import os
        import signal
        from multiprocessing.connection import Client, Listener

        listener = Listener(family="AF_UNIX")
        client = Client(listener.address)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert (code, out, err) == (-9, "", "")


@pytest.fixture
def silence(listener, monkeypatch):
    """Connects strangers that keep silent for longer than a test may take."""
    monkeypatch.setattr("procession._challenge.HANDSHAKE", 10 * PATIENCE)
    strangers = []

    def silence(count: int, said: bytes = b"") -> None:
        family = socket.AF_UNIX if isinstance(listener.address, str) else socket.AF_INET
        for _ in range(count):
            strangers.append(socket.socket(family))
            strangers[-1].connect(listener.address)
            strangers[-1].sendall(said)

    yield silence
    for stranger in strangers:
        stranger.close()


@pytest.mark.procession_only("it waits for each")
def test_silent_strangers_do_not_hold_up_friends(lib, listener, silence) -> None:
    silence(3)
    greet(lib, listener)
    silence(2, struct.pack("!i", 60) + b"x")
    greet(lib, listener)
    greet(lib, listener)


@pytest.mark.slow
@pytest.mark.procession_only("it waits for each")
def test_many_silent_strangers_do_not_hold_up_friends(lib, listener, silence) -> None:
    for _ in range(30):
        silence(5)
        greet(lib, listener)


@pytest.mark.procession_only("it waits for the silent one")
def test_refusal_does_not_wait_for_the_silent(lib, listener, silence) -> None:
    silence(1)
    test_stranger_with_another_key_is_refused(lib, listener)


@pytest.mark.procession_only("it waits for the silent one")
def test_friend_of_another_thread_is_not_held_up(lib, listener, silence) -> None:
    silence(2)
    connection = importlib.import_module(f"{lib.__name__}.connection")
    said = []

    def accept() -> None:
        with listener.accept() as accepted:
            said.append(accepted.recv())

    threads = [threading.Thread(target=accept) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(3):
        with connection.Client(listener.address, authkey=KEY) as client:
            client.send(number)
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(said) == [0, 1, 2]


def read(sock: socket.socket) -> bytes:
    """Reads one message."""
    with sock.makefile("rb", buffering=0) as file:
        (length,) = struct.unpack("!i", file.read(4))
        return file.read(length)


@pytest.mark.procession_only("it waits for the slow one")
def test_slow_friend_is_let_in_after_a_quick_one(
    lib, listener, stranger, silence
) -> None:
    silence(1)
    connection = importlib.import_module(f"{lib.__name__}.connection")
    accepted = []
    waiting = threading.Thread(target=lambda: accepted.append(listener.accept()))
    waiting.start()
    question = read(stranger).removeprefix(b"#CHALLENGE#")
    answer = connection._create_response(KEY, question)
    # It stops in the middle of its answer.
    message = struct.pack("!i", len(answer)) + answer
    stranger.sendall(message[:-5])
    with connection.Client(listener.address, authkey=KEY):
        waiting.join(PATIENCE)
    accepted.pop().close()
    waiting = threading.Thread(target=lambda: accepted.append(listener.accept()))
    waiting.start()
    for byte in message[-5:]:
        stranger.sendall(bytes([byte]))
    assert read(stranger) == b"#WELCOME#"
    # Its own question, with which it says something, as nobody waits for the rest.
    mine = b"#CHALLENGE#" + b"{sha256}" + bytes(40)
    said = b"hello"
    parts = (mine, b"#WELCOME#", said)
    stranger.sendall(b"".join(struct.pack("!i", len(part)) + part for part in parts))
    waiting.join(PATIENCE)
    with accepted.pop() as slow:
        assert slow.recv_bytes() == said


@pytest.mark.procession_only("the handshake has no timeout")
def test_timeout_of_the_socket_holds_with_a_silent_stranger(
    lib, listener, silence
) -> None:
    listener._listener._socket.settimeout(MOMENT)
    with pytest.raises(TimeoutError):
        listener.accept()
    silence(1)
    with pytest.raises(TimeoutError):
        listener.accept()
    listener._listener._socket.settimeout(None)
    greet(lib, listener)


def test_socket_tells_of_each_that_has_connected(lib, listener) -> None:
    connection = importlib.import_module(f"{lib.__name__}.connection")
    family = socket.AF_UNIX if isinstance(listener.address, str) else socket.AF_INET
    sockets = [socket.socket(family) for _ in range(4)]

    def prove(sock: socket.socket) -> None:
        with connection.Connection(sock.detach()) as client:
            connection.answer_challenge(client, KEY)
            connection.deliver_challenge(client, KEY)
            assert client.recv() == "welcome"

    for sock in sockets:
        sock.connect(listener.address)
    friends = [threading.Thread(target=prove, args=(sock,)) for sock in sockets]
    for friend in friends:
        friend.start()
    for _ in friends:
        assert connection.wait([listener._listener._socket], PATIENCE)
        with listener.accept() as accepted:
            accepted.send("welcome")
    for friend in friends:
        friend.join(PATIENCE)


@pytest.mark.slow
@pytest.mark.methods("fork")
def test_processes_that_share_a_listener_let_in_all(lib, mp, listener, start) -> None:
    connection = importlib.import_module(f"{lib.__name__}.connection")
    children = [start(accept_some, listener) for _ in range(2)]
    # The last two are for them to end, one for each.
    for number in [*range(40), None, None]:
        with connection.Client(listener.address, authkey=KEY) as client:
            client.send(number)
            assert client.recv() == number
    for child in children:
        child.join(PATIENCE)
        assert child.exitcode == 0


def accept_some(listener) -> None:
    """Says back what friends say, until one says nothing."""
    said = 0
    while said is not None:
        with listener.accept() as accepted:
            said = accepted.recv()
            accepted.send(said)
