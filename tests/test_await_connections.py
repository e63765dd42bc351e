"""Connections that tasks of an event loop await."""

import os
import struct

import pytest
from library import PATIENCE
from loops import anyio, ended, until_idle
from targets import awaiting as targets

pytestmark = pytest.mark.procession_only("there nothing can be awaited")


@pytest.fixture
def ends(mp):
    ends = list(mp.Pipe())
    yield ends
    while ends:
        ends.pop().close()


def test_messages_are_awaited(mp, start, loop, ends) -> None:
    here, there = ends
    go = mp.Semaphore(0)
    # Short, in several pieces, and in the arena.
    messages = ["short", bytes(100_000), bytes(1_000_000)]

    async def main() -> None:
        start(targets.send_when_told, there, go, messages)
        got = []

        async def receive() -> None:
            for _ in messages:
                got.append(await here.recv_async())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await until_idle()
            assert got == []
            for _ in messages:
                go.release()
        assert got == messages

    loop.run(main)


def test_bytes_are_awaited(loop, ends) -> None:
    here, there = ends

    async def main() -> None:
        there.send_bytes(b"bytes")
        assert await here.recv_bytes_async() == b"bytes"
        there.send_bytes(b"too many")
        with pytest.raises(OSError, match="length"):
            await here.recv_bytes_async(maxlength=3)

    loop.run(main)


def test_end_of_the_other_side_is_told(loop, ends) -> None:
    here, there = ends

    async def main() -> None:
        async def receive() -> None:
            with pytest.raises(EOFError):
                await here.recv_async()

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(receive)
            await until_idle()
            there.close()

    loop.run(main)


def test_end_that_is_closed_meanwhile_is_told(loop, ends) -> None:
    here, _there = ends

    async def main() -> None:
        async def receive() -> None:
            with pytest.raises(OSError, match="closed"):
                await here.recv_async()

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(receive)
            await until_idle()
            here.close()
            # The loop watches what has the number now.
            number = os.dup(0)
            os.close(number)

    loop.run(main)


def test_child_that_closes_its_copy_leaves_the_loop_of_its_parent_alone(
    start, loop, ends
) -> None:
    here, there = ends

    async def main() -> None:
        got = []

        async def receive() -> None:
            got.append(await here.recv_async())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await until_idle()
            start(targets.close_one_and_send, here, there, "hello")
        assert got == ["hello"]

    loop.run(main)


def test_end_that_another_thread_closes_is_told(loop, ends) -> None:
    here, _there = ends

    async def main() -> None:
        async def receive() -> None:
            with pytest.raises(OSError, match="closed"):
                await here.recv_async()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await until_idle()
            await anyio.to_thread.run_sync(here.close)

    loop.run(main)


def test_task_that_is_cancelled_takes_no_message(loop, ends) -> None:
    here, there = ends

    async def main() -> None:
        assert not await ended(here.recv_async())
        there.send("still there")
        assert await here.recv_async() == "still there"

    loop.run(main)


def test_half_a_message_waits_for_the_rest(loop, ends) -> None:
    here, there = ends
    message = struct.pack("!i", 6) + b"abcdef"

    async def main() -> None:
        os.write(there.fileno(), message[:2])
        assert not await ended(here.recv_bytes_async())
        os.write(there.fileno(), message[2:8])
        # The loop goes on meanwhile, and who is cancelled has taken nothing.
        assert not await ended(here.recv_bytes_async())
        os.write(there.fileno(), message[8:])
        assert await here.recv_bytes_async() == b"abcdef"
        os.write(there.fileno(), message[:7])
        assert not await ended(here.recv_bytes_async())
        os.write(there.fileno(), message[7:])
        # Nor does it matter who gets the rest.
        assert here.recv_bytes() == b"abcdef"

    loop.run(main)


def test_send_waits_for_room(mp, start, loop, ends) -> None:
    here, there = ends
    go = mp.Semaphore(0)
    # In pieces, and in the arena, where eight large ones may be on their way.
    lengths = [50_000, 200_000] * 15

    async def main() -> None:
        receiver = start(targets.receive_when_told, there, go, len(lengths))
        sent = []

        async def send() -> None:
            for length in lengths:
                await here.send_async(bytes(length))
                sent.append(length)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await until_idle()
            assert 0 < len(sent) < len(lengths)
            for _ in lengths:
                go.release()
        got = await receiver.result_async()
        assert got == lengths

    loop.run(main)


def test_messages_of_several_tasks_do_not_mix(mp, start, loop, ends) -> None:
    here, there = ends
    go = mp.Semaphore(0)

    async def main() -> None:
        receiver = start(targets.receive_when_told, there, go, 40)
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(here.send_async, bytes(40_000 + number))
            await until_idle()
            for _ in range(40):
                go.release()
        got = await receiver.result_async()
        assert sorted(got) == [40_000 + number for number in range(40)]

    loop.run(main)


def test_send_that_is_cancelled_before_its_first_byte_has_sent_nothing(
    loop, ends
) -> None:
    here, there = ends

    async def main() -> None:
        sent = 0
        # Those lie in the arena, and only notes of them go through the pipe.
        while await ended(here.send_async(bytes(200_000))):
            sent += 1
        for _ in range(sent):
            assert len(await there.recv_async()) == 200_000
        await here.send_async("after that")
        assert await there.recv_async() == "after that"

    loop.run(main)


def test_send_that_is_cancelled_in_the_middle_is_told(loop, ends) -> None:
    here, there = ends

    async def main() -> None:
        sent = 0
        while await ended(here.send_async(bytes(100_000))):
            sent += 1
        with pytest.raises(BrokenPipeError):
            await here.send_async("after that")
        for _ in range(sent):
            assert len(await there.recv_async()) == 100_000
        with pytest.raises((EOFError, OSError)):
            await there.recv_async()

    loop.run(main)


def test_bytes_are_sent_to_anybody(lib, mp, loop) -> None:
    connection = lib.connection
    message = os.urandom(3_000_000)

    async def main() -> None:
        with connection.Listener() as listener:
            client = connection.Client(listener.address)
            server = listener.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.send_bytes_async, message)
            await until_idle()
            tasks.start_soon(client.send_async, ["an", "object"])
            await until_idle()
            tasks.start_soon(client.send_bytes_async, message, 10, 20)
            assert await server.recv_bytes_async() == message
            assert await server.recv_async() == ["an", "object"]
            assert await server.recv_bytes_async() == message[10:30]
        client.close()
        with pytest.raises(EOFError):
            await server.recv_async()
        server.close()

    loop.run(main)


def test_receiver_that_is_gone_is_told(mp, loop, ends) -> None:
    here, there = ends

    async def main() -> None:
        async def send() -> None:
            with pytest.raises(BrokenPipeError):
                while True:
                    await here.send_async(bytes(50_000))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await until_idle()
            there.close()

    loop.run(main)


def test_sender_that_dies_in_the_middle_of_a_message_is_told(
    mp, start, loop, ends
) -> None:
    here, there = ends

    async def main() -> None:
        process = start(targets.send_half, there, here, 3000)
        process.join(PATIENCE)
        there.close()
        with pytest.raises(OSError, match="end of file during message"):
            await here.recv_async()

    loop.run(main)


def test_connection_that_only_sends_is_refused(mp, loop) -> None:
    here, there = mp.Pipe(duplex=False)

    async def main() -> None:
        with pytest.raises(OSError, match="write-only"):
            await there.recv_async()

    loop.run(main)
    here.close()
    there.close()
