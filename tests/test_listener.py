"""Who connects to a listener, and knows the key or does not.

What passes between the two before the key is proven comes from a stranger: it is short,
in time, and never unpickled.
"""

import importlib
import socket
import struct
import threading

import pytest
from library import PATIENCE

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
