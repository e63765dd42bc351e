"""Pipes and their connections, and waiting for several things at once."""

import array
import os
import pickle
import select
import socket
import threading
import time

import pytest
from library import MOMENT, PATIENCE, load
from targets import calls
from targets import connection as targets


@pytest.fixture
def wait(lib):
    """Returns `connection.wait` of the library."""
    return load("connection").wait


# Messages.


def test_both_ends_of_a_duplex_pipe_send_and_receive(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        here.send("from here")
        there.send("from there")
        assert there.recv() == "from here"
        assert here.recv() == "from there"


def test_one_way_pipe_goes_from_second_to_first(lib) -> None:
    receiver, sender = lib.Pipe(duplex=False)
    with receiver, sender:
        sender.send("a message")
        assert receiver.recv() == "a message"
        assert (receiver.readable, receiver.writable) == (True, False)
        assert (sender.readable, sender.writable) == (False, True)
        with pytest.raises(OSError, match="read-only"):
            receiver.send("a message")
        with pytest.raises(OSError, match="write-only"):
            sender.recv()
        with pytest.raises(OSError, match="write-only"):
            sender.poll()


@pytest.mark.parametrize(
    "message", [None, 0, "", b"", [], (1, "two", 3.0, b"four", [5], {"six": {7}})]
)
def test_message_comes_out_as_it_went_in(lib, message) -> None:
    here, there = lib.Pipe()
    with here, there:
        here.send(message)
        got = there.recv()
        assert got == message
        assert type(got) is type(message)


def test_messages_keep_their_order_and_their_bounds(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        for size in range(50):
            here.send_bytes(bytes([size]) * size)
        for size in range(50):
            assert there.recv_bytes() == bytes([size]) * size


def test_child_answers_through_a_pipe(mp, start) -> None:
    here, there = mp.Pipe()
    with here, there:
        child = start(targets.echo, there)
        for message in ("text", 17, {"key": ["value"]}):
            here.send(message)
            assert here.recv() == message
        here.send(None)
        child.join()
        assert child.exitcode == 0


def test_processes_that_answer_each_other_get_all_messages_in_order(mp, start) -> None:
    """They go past the socket while both are awake, through it when one sleeps, and in blocks."""
    sizes = (0, 1, 109, 111, 447, 448, 449, 5_000, 28_000, 127 << 10, 129 << 10)
    here, there = mp.Pipe()
    with here, there:
        child = start(targets.echo_bytes_and_one_more, there)
        for number in range(600):
            message = number.to_bytes(4, "little") * (
                1 + sizes[number % len(sizes)] // 4
            )
            here.send_bytes(message)
            if number % 7 == 0:
                # It sleeps until this comes.
                assert here.poll(PATIENCE)
            assert here.recv_bytes() == message
            # Of two at once, one at the most is awaited by one who is awake.
            assert here.recv_bytes() == message[:4]
        assert not here.poll()
        here.send_bytes(b"")
        child.join()
        assert child.exitcode == 0


def test_bytes_by_the_bare_descriptor_are_not_overtaken(mp, start) -> None:
    pipes = [mp.Pipe() for _ in range(50)]
    child = start(
        targets.send_by_descriptor_and_connection, [pipe[1] for pipe in pipes]
    )
    for here, there in pipes:
        with here, there:
            # It looks for a message once it knows that it does not wait for long.
            assert [here.recv() for _ in range(5)] == ["short"] * 5
            here.send("go")
            assert [here.recv_bytes() for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    child.join()
    assert child.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [100_000, 1_000_000, 20_000_000])
def test_large_messages_come_back_whole(mp, start, size) -> None:
    data = os.urandom(1000) * (size // 1000)
    here, there = mp.Pipe()
    with here, there:
        start(targets.echo_bytes, there)
        here.send_bytes(data)
        assert calls.digest(here.recv_bytes()) == calls.digest(data)
        here.send_bytes(b"")
        start(targets.echo, there)
        here.send(data)
        assert calls.digest(here.recv()) == calls.digest(data)
        here.send(None)


def test_messages_sent_from_a_child_that_has_ended_are_received(mp, start) -> None:
    receiver, sender = mp.Pipe(duplex=False)
    with receiver, sender:
        start(targets.send_all, sender, [1, "two", [3]]).join()
        assert [receiver.recv(), receiver.recv(), receiver.recv()] == [1, "two", [3]]


# Bytes.


@pytest.mark.parametrize("size", [0, 1, 4, 1023, 16383, 16384, 16385, 65535])
def test_bytes_of_all_sizes_are_received_as_sent(lib, size) -> None:
    data = os.urandom(size)
    here, there = lib.Pipe()
    with here, there:
        thread = threading.Thread(target=here.send_bytes, args=(data,))
        thread.start()
        assert there.recv_bytes() == data
        thread.join()


@pytest.mark.parametrize(
    "data", [b"bytes", bytearray(b"bytes"), memoryview(b"bytes"), array.array("b", [1])]
)
def test_whatever_has_bytes_can_be_sent(lib, data) -> None:
    here, there = lib.Pipe()
    with here, there:
        here.send_bytes(data)
        assert there.recv_bytes() == bytes(data)


def test_part_of_the_bytes_can_be_sent(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        here.send_bytes(b"abcdef", 2)
        here.send_bytes(b"abcdef", 2, 3)
        here.send_bytes(b"abcdef", 6)
        assert [there.recv_bytes() for _ in range(3)] == [b"cdef", b"cde", b""]


@pytest.mark.parametrize("part", [(-1,), (7,), (0, 7), (4, 3), (0, -1)])
def test_part_beyond_the_bytes_is_an_error(lib, part) -> None:
    here, there = lib.Pipe()
    with here, there, pytest.raises(ValueError):
        here.send_bytes(b"abcdef", *part)


def test_bytes_are_received_into_a_buffer(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        buffer = bytearray(b"----------")
        here.send_bytes(b"abc")
        assert there.recv_bytes_into(buffer) == 3
        assert buffer == b"abc-------"
        here.send_bytes(b"xyz")
        assert there.recv_bytes_into(buffer, 5) == 3
        assert buffer == b"abc--xyz--"


def test_message_larger_than_the_buffer_is_in_the_error(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        here.send_bytes(b"too long")
        with pytest.raises(lib.BufferTooShort) as caught:
            there.recv_bytes_into(bytearray(3))
        assert caught.value.args == (b"too long",)
        here.send_bytes(b"next")
        assert there.recv_bytes() == b"next"


def test_message_longer_than_allowed_is_an_error(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        here.send_bytes(b"just right")
        assert there.recv_bytes(10) == b"just right"
        here.send_bytes(b"one too long")
        with pytest.raises(OSError, match="bad message length"):
            there.recv_bytes(11)


@pytest.mark.procession_only("its message names no numbers")
def test_message_longer_than_allowed_is_told_with_both_lengths(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        here.send_bytes(b"one too long")
        with pytest.raises(OSError, match="12 bytes is longer than the 11 "):
            there.recv_bytes(11)


def test_negative_maximum_is_an_error(lib) -> None:
    here, there = lib.Pipe()
    with here, there, pytest.raises(ValueError, match="negative"):
        there.recv_bytes(-1)


# Poll.


def test_poll_tells_whether_a_message_is_there(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        assert there.poll() is False
        before = time.monotonic()
        assert there.poll(MOMENT) is False
        assert time.monotonic() - before >= MOMENT
        here.send("a message")
        for timeout in (0, PATIENCE, None):
            assert there.poll(timeout) is True
        assert there.recv() == "a message"
        assert there.poll(0) is False


def test_poll_returns_when_a_message_comes(mp, start) -> None:
    here, there = mp.Pipe()
    go = mp.Event()
    with here, there:
        start(targets.send_when_told, there, go, "a message")
        assert here.poll(0) is False
        go.set()
        assert here.poll(PATIENCE) is True
        assert here.recv() == "a message"


# The end of a connection.


def test_end_of_the_other_side_is_an_end_of_file(lib) -> None:
    here, there = lib.Pipe()
    with here:
        there.send("last words")
        there.close()
        assert here.recv() == "last words"
        assert here.poll() is True
        with pytest.raises(EOFError):
            here.recv()
        with pytest.raises(EOFError):
            here.recv_bytes()


def test_send_to_a_side_that_has_closed_is_a_broken_pipe(lib) -> None:
    here, there = lib.Pipe()
    with here:
        there.close()
        with pytest.raises(BrokenPipeError):
            here.send("a message")


def test_receiver_in_a_child_sees_the_end_when_the_last_sender_closes(
    mp, start
) -> None:
    receiver, sender = mp.Pipe(duplex=False)
    answers = mp.SimpleQueue()
    child = start(
        calls.call_and_put, answers, targets.receive_until_end, (receiver, sender), {}
    )
    receiver.close()
    sender.send("first")
    sender.send("second")
    sender.close()
    assert answers.get() == (True, ["first", "second"])
    child.join()


def test_end_of_a_child_closes_its_connections(mp, start) -> None:
    here, there = mp.Pipe()
    with here:
        start(targets.close, there, here)
        there.close()
        with pytest.raises(EOFError):
            here.recv()


def test_closed_connection_refuses_all_use(lib) -> None:
    here, there = lib.Pipe()
    assert here.closed is False
    here.close()
    here.close()
    there.close()
    assert here.closed is True
    for use in (
        here.recv,
        here.recv_bytes,
        here.poll,
        here.fileno,
        lambda: here.send("a message"),
        lambda: here.send_bytes(b"a message"),
        lambda: here.recv_bytes_into(bytearray(10)),
    ):
        with pytest.raises(OSError, match="handle is closed"):
            use()


def test_context_manager_closes_the_connection(lib) -> None:
    here, there = lib.Pipe()
    with here as entered, there:
        assert entered is here
    assert here.closed
    assert there.closed


def test_connection_closes_when_nobody_has_it_any_more(lib) -> None:
    here, there = lib.Pipe()
    del there
    with here, pytest.raises(EOFError):
        here.recv()


# Descriptors.


def test_connection_is_a_descriptor_that_select_knows(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        assert here.fileno() != there.fileno()
        assert select.select([there], [], [], 0)[0] == []
        here.send("a message")
        assert select.select([there], [], [], PATIENCE)[0] == [there]


def test_connection_is_of_the_public_class(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        assert isinstance(here, load("connection").Connection)


def test_message_that_does_not_pickle_is_an_error_and_does_no_harm(lib) -> None:
    here, there = lib.Pipe()
    with here, there:
        with pytest.raises((TypeError, pickle.PicklingError)):
            here.send(threading.Lock())
        here.send("a message")
        assert there.recv() == "a message"


def test_connection_reaches_a_child_through_a_connection(program) -> None:
    code, out, err = program("""
        from multiprocessing import Pipe, Process

        def child(connection):
            with connection.recv() as received:
                print(received.recv())

        if __name__ == "__main__":
            here, there = Pipe()
            process = Process(target=child, args=(there,))
            process.start()
            inner, outer = Pipe()
            here.send(outer)
            inner.send("through the connection that came through the connection")
            process.join()
    """)
    assert (code, err) == (0, "")
    assert out == "through the connection that came through the connection\n"


# Waiting for several.


def test_wait_for_nothing_returns_at_the_timeout(wait) -> None:
    assert wait([], timeout=0) == []
    before = time.monotonic()
    assert wait([], timeout=MOMENT) == []
    assert time.monotonic() - before >= MOMENT


def test_wait_returns_those_that_are_ready(lib, wait) -> None:
    pipes = [lib.Pipe() for _ in range(4)]
    receivers = [receiver for receiver, _ in pipes]
    assert wait(receivers, 0) == []
    assert wait(receivers, -1) == []
    for number in (1, 3):
        pipes[number][1].send("a message")
    assert sorted(map(id, wait(receivers))) == sorted(
        [id(receivers[1]), id(receivers[3])]
    )
    for ends in pipes:
        for end in ends:
            end.close()


def test_wait_lasts_as_long_as_the_timeout(lib, wait) -> None:
    here, there = lib.Pipe()
    with here, there:
        before = time.monotonic()
        assert wait([here, there], MOMENT) == []
        assert time.monotonic() - before >= MOMENT


def test_wait_takes_processes_pipes_and_sockets_together(mp, wait, start) -> None:
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    here, there = mp.Pipe()
    near, far = socket.socketpair()
    with here, there, near, far:
        everything = [process.sentinel, here, near]
        assert wait(everything, 0) == []
        there.send("a message")
        assert wait(everything, PATIENCE) == [here]
        far.send(b"x")
        assert set(wait(everything, PATIENCE)) == {here, near}
        here.recv()
        near.recv(1)
        assert wait(everything, 0) == []
        go.set()
        assert wait(everything, PATIENCE) == [process.sentinel]


def test_wait_takes_plain_descriptors(wait) -> None:
    reader, writer = os.pipe()
    try:
        assert wait([reader], 0) == []
        os.write(writer, b"x")
        assert wait([reader], PATIENCE) == [reader]
    finally:
        os.close(reader)
        os.close(writer)


def test_wait_returns_the_first_of_several_processes_that_ends(mp, wait, start) -> None:
    gates = [mp.Event() for _ in range(3)]
    ready = mp.Event()
    processes = [start(calls.announce_and_wait, ready, gate) for gate in gates]
    sentinels = [process.sentinel for process in processes]
    gates[1].set()
    assert wait(sentinels, PATIENCE) == [processes[1].sentinel]
    gates[0].set()
    gates[2].set()
    left = {sentinels[0], sentinels[2]}
    while left:
        ready_ones = wait(list(left), PATIENCE)
        assert ready_ones
        left -= set(ready_ones)


def test_wait_finds_the_end_of_a_connection_ready(lib, wait) -> None:
    here, there = lib.Pipe()
    with here:
        there.close()
        assert wait([here], PATIENCE) == [here]


@pytest.mark.procession_only("a queue or event is no thing to wait for")
def test_wait_takes_queues_and_events_with_pipes_and_processes(mp, wait, start) -> None:
    queue, event, pipe = mp.Queue(), mp.Event(), mp.Pipe()
    ready, go = mp.Event(), mp.Event()
    process = start(calls.announce_and_wait, ready, go)
    with pipe[0] as here, pipe[1]:
        everything = [queue, here, process.sentinel, event]
        assert wait([ready], PATIENCE) == [ready]
        assert wait(everything, 0) == []
        queue.put("an item")
        assert wait(everything, PATIENCE) == [queue]
        event.set()
        assert wait(everything, PATIENCE) == [queue, event]
        assert queue.get() == "an item"
        event.clear()
        assert wait(everything, 0) == []
        go.set()
        assert wait(everything, PATIENCE) == [process.sentinel]


@pytest.mark.procession_only("a queue or event is no thing to wait for")
def test_wait_is_ended_by_a_child_that_puts_or_sets(mp, wait, start) -> None:
    queue, event = mp.SimpleQueue(), mp.Event()
    go = mp.Event()
    start(calls.announce_and_wait, event, go)
    assert wait([queue, event, go], PATIENCE) == [event]
    start(calls.call_and_put, queue, len, ("four",), {})
    event.clear()
    assert wait([queue, event, go], PATIENCE) == [queue]
    assert queue.get() == (True, 4)
    go.set()
