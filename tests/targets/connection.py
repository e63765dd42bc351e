"""What the processes of test_connection.py do."""

import os
from collections.abc import Iterable


def echo(connection) -> None:
    """Sends back what it receives until `None` comes."""
    while (message := connection.recv()) is not None:
        connection.send(message)


def echo_bytes(connection) -> None:
    """Sends back the bytes that it receives until none come."""
    while message := connection.recv_bytes():
        connection.send_bytes(message)


def echo_bytes_and_one_more(connection) -> None:
    """Sends back the bytes that it receives, and the first four again, until none come."""
    while message := connection.recv_bytes():
        connection.send_bytes(message)
        connection.send_bytes(message[:4])


def send_by_descriptor_and_connection(connections: Iterable) -> None:
    """Sends four messages over each when told, in turn by the descriptor and the connection."""
    for connection in connections:
        send_all(connection, ["short"] * 5)
        assert connection.recv() == "go"
        for digit in (b"0", b"2"):
            frame = (1).to_bytes(4, "big") + digit
            assert os.write(connection.fileno(), frame) == len(frame)
            connection.send_bytes(bytes([digit[0] + 1]))


def send_all(connection, messages: Iterable) -> None:
    for message in messages:
        connection.send(message)


def send_when_told(connection, go, message: object) -> None:
    go.wait()
    connection.send(message)


def close(connection, _other_end) -> None:
    """Closes the end that is its own; the other one it merely inherited."""
    connection.close()
    _other_end.close()


def receive_until_end(connection, other_end) -> list:
    """Returns all that was received when the last writer has closed."""
    other_end.close()
    received = []
    try:
        while True:
            received.append(connection.recv())
    except EOFError:
        return received
