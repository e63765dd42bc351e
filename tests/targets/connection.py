"""What the processes of test_connection.py do."""

from collections.abc import Iterable


def echo(connection) -> None:
    """Sends back what it receives until `None` comes."""
    while (message := connection.recv()) is not None:
        connection.send(message)


def echo_bytes(connection) -> None:
    """Sends back the bytes that it receives until none come."""
    while message := connection.recv_bytes():
        connection.send_bytes(message)


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
