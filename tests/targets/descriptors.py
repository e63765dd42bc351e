"""A program that closes all descriptors, and takes their numbers for files of its own.

Before each operation its objects are made; then all descriptors but the standard
streams are closed, and their numbers and some more become files, sockets and other
things of the program's, with known contents. After the operation they must be what
they were.
"""

import ctypes
import os
import select
import socket
import sys
import tempfile
import time

import library

TEXT = b"what the program has written\n"

# Of these, numbers are taken in turn.
STREAM, DATAGRAM, PACKET = (
    socket.SOCK_STREAM,
    socket.SOCK_DGRAM,
    socket.SOCK_SEQPACKET,
)


class Own:
    """What the program has under the numbers of descriptors that it has closed."""

    def __init__(self) -> None:
        numbers = {int(name) for name in os.listdir("/proc/self/fd")}
        top = max(numbers) + 8
        os.closerange(3, top + 1)
        self.files: dict[int, os.stat_result] = {}
        self.sockets: list[int] = []
        self.sets: list[int] = []
        self.flags: list[int] = []
        while self._top() < top:
            self._take_some()
        for number in [*self._all()]:
            self.files[number] = os.fstat(number)

    def _all(self) -> list[int]:
        return [*self.files, *self.sockets, *self.sets, *self.flags]

    def _top(self) -> int:
        return max(self._all(), default=0)

    def _take_some(self) -> None:
        for kind in (STREAM, DATAGRAM, PACKET):
            path = os.path.join(tempfile.gettempdir(), f"own-{os.getpid()}")
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.unlink(path)
            os.write(file, TEXT)
            self.files[file] = os.fstat(file)
            self.sockets += [one.detach() for one in socket.socketpair(type=kind)]
        # A connected TCP socket takes what is sent to whatever address.
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            self.sockets += [client.detach(), server.accept()[0].detach()]
        flag = os.eventfd(0, os.EFD_NONBLOCK)
        # A set of the program's own, with an event that nobody may take away.
        ready = os.eventfd(1, os.EFD_NONBLOCK)
        watched = select.epoll()
        watched.register(ready, select.EPOLLIN | select.EPOLLONESHOT)
        self.flags += [flag, ready]
        self.sets.append(os.dup(watched.fileno()))
        watched.close()

    def check(self) -> None:
        """Fails unless all is as it was."""
        for number, before in self.files.items():
            now = os.fstat(number)
            assert (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino), number
            if before.st_size == len(TEXT) and number not in self.sockets:
                assert now.st_size == len(TEXT), (number, now.st_size)
                assert now.st_blocks == before.st_blocks, number
                assert os.pread(number, 100, 0) == TEXT, number
                assert os.lseek(number, 0, os.SEEK_CUR) == len(TEXT), number
        for number in self.sockets:
            with socket.socket(fileno=os.dup(number)) as sock:
                sock.setblocking(False)
                try:
                    received = sock.recv(100)
                except BlockingIOError:
                    continue
                raise AssertionError(f"socket {number} has received {received!r}")
        for number in self.flags[::2]:
            assert not select.select([number], [], [], 0)[0], number
        for number in self.sets:
            with select.epoll.fromfd(os.dup(number)) as watched:
                assert len(watched.poll(0)) == 1, number


# What children run.


def nothing() -> None:
    """Does nothing."""


def wait_for(event) -> None:
    """Waits until it is set."""
    event.wait(library.PATIENCE)


def remember(event) -> None:
    """Sets a worker up."""
    global remembered
    remembered = event


remembered = None


def wait_for_remembered() -> str:
    """Waits as a task."""
    return "done" if remembered.wait(library.PATIENCE) else "nobody came"


def put_into(queue, value) -> None:
    """Puts one value."""
    queue.put(value)


def length(value) -> int:
    """Returns how long it is."""
    return len(value)


# The operations: each makes its objects, yields, and uses them.


def use_lock(mp):
    lock, other = mp.RLock(), mp.Lock()
    yield
    with lock, lock, other:
        pass
    mp.Lock().acquire()


def use_semaphore(mp):
    semaphore, bounded = mp.Semaphore(2), mp.BoundedSemaphore(1)
    yield
    with semaphore, semaphore, bounded:
        pass


def use_event_and_condition(mp):
    event, condition = mp.Event(), mp.Condition()
    yield
    process = mp.Process(target=wait_for, args=(event,))
    process.start()
    with condition:
        condition.notify_all()
        condition.wait(0.01)
    event.set()
    process.join(library.PATIENCE)
    assert process.exitcode == 0, process.exitcode


def use_queue(mp):
    queue, bounded = mp.Queue(), mp.Queue(2)
    # Whoever asks for its descriptor has a doorbell hung up.
    queue._reader.fileno() if library.name == "procession" else None
    yield
    for value in (1, "x" * 100, b"x" * (4 << 20)):
        queue.put(value)
        assert queue.get(timeout=library.PATIENCE) == value
        bounded.put(value)
        assert bounded.get(timeout=library.PATIENCE) == value
    process = mp.Process(target=put_into, args=(queue, b"y" * (4 << 20)))
    process.start()
    library.load("connection").wait([queue._reader], library.PATIENCE)
    assert len(queue.get(timeout=library.PATIENCE)) == 4 << 20
    process.join(library.PATIENCE)
    assert process.exitcode == 0, process.exitcode


def use_simple_queue(mp):
    queue = mp.SimpleQueue()
    yield
    queue.put(b"x" * (4 << 20))
    assert len(queue.get()) == 4 << 20


def use_new_pipe(mp):
    yield
    here, there = mp.Pipe()
    here.send(b"x" * (4 << 20))
    assert len(there.recv()) == 4 << 20


def use_old_pipe(mp):
    here, there = mp.Pipe()
    here.send("before")
    yield
    # It is gone; nothing but an error is promised.
    uses = (
        lambda: here.send("x"),
        lambda: here.send(b"x" * (4 << 20)),
        there.recv,
        there.poll,
        lambda: library.load("connection").wait([there], library.PATIENCE),
        lambda: library.load("reduction").ForkingPickler.dumps(here),
    )
    for use in uses:
        try:
            use()
        except (OSError, EOFError):
            continue
        raise AssertionError("a pipe whose descriptors were closed still works")
    here.close()
    there.close()


def use_process(mp):
    event = mp.Event()
    running = mp.Process(target=wait_for, args=(event,))
    running.start()
    endless = mp.Process(target=time.sleep, args=(1000,))
    endless.start()
    yield
    assert running.is_alive() and endless.is_alive()
    event.set()
    running.join(library.PATIENCE)
    assert running.exitcode == 0, running.exitcode
    endless.terminate()
    endless.join(library.PATIENCE)
    assert endless.exitcode == -15, endless.exitcode
    for process in (running, endless):
        process.close()
    process = mp.Process(target=nothing)
    process.start()
    process.join(library.PATIENCE)
    assert process.exitcode == 0, process.exitcode


def use_daemon(mp):
    if not may_have_children(mp):
        yield
        return
    event = mp.Event()
    daemon = mp.Process(target=wait_for, args=(event,), daemon=True)
    daemon.start()
    yield
    event.set()
    daemon.join(library.PATIENCE)
    assert daemon.exitcode == 0, daemon.exitcode


def use_busy_pool(mp):
    if not may_have_children(mp):
        yield
        return
    event = mp.Event()
    pool = mp.Pool(2, initializer=remember, initargs=(event,))
    result = pool.apply_async(wait_for_remembered)
    yield
    event.set()
    assert result.get(library.PATIENCE) == "done"
    pool.terminate()
    pool.join()


def use_parent(mp):
    parent = library.multiprocessing.parent_process()
    alive = parent is None or parent.is_alive()
    yield
    assert alive and (parent is None or parent.is_alive())


def use_several_processes(mp):
    yield
    processes = [mp.Process(target=nothing) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(library.PATIENCE)
        assert process.exitcode == 0, process.exitcode


def use_old_pool(mp):
    if not may_have_children(mp):
        yield
        return
    pool = mp.Pool(2)
    assert pool.map(length, ["x"] * 10) == [1] * 10
    yield
    assert pool.map(length, ["x"] * 10) == [1] * 10
    assert pool.apply(length, (b"x" * (4 << 20),)) == 4 << 20
    assert pool.map(length, [b"x" * (4 << 20)] * 2, chunksize=1) == [4 << 20] * 2
    pool.close()
    pool.join()


def use_old_pool_and_terminate_it(mp):
    if not may_have_children(mp):
        yield
        return
    pool = mp.Pool(2)
    yield
    pool.terminate()
    pool.join()


def use_new_pool(mp):
    yield
    if may_have_children(mp):
        with mp.Pool(2) as pool:
            assert pool.apply(length, ("xy",)) == 2
            assert list(pool.imap(length, [b"x" * (4 << 20)] * 2)) == [4 << 20] * 2


def use_manager(mp):
    yield
    if may_have_children(mp):
        with mp.Manager() as manager:
            numbers = manager.list([1, 2])
            numbers.append(3)
            assert list(numbers) == [1, 2, 3]


def use_old_manager(mp):
    if not may_have_children(mp):
        yield
        return
    manager = mp.Manager()
    numbers = manager.list([1, 2])
    time.sleep(0.1)  # The connection's other end falls asleep on its socket.
    yield
    try:
        numbers.append(3)
        numbers.append(b"x" * 100_000)
    except (OSError, EOFError):
        pass  # Its connection is gone, as the standard library's.
    try:
        manager.shutdown()
    except (OSError, EOFError):
        pass


def use_shared_memory(mp):
    memory = library.load("shared_memory").SharedMemory(create=True, size=1 << 20)
    value, array = mp.Value("i", 1), mp.Array("i", 1000)
    yield
    memory.buf[:5] = b"hello"
    again = library.load("shared_memory").SharedMemory(memory.name)
    assert again.buf[:5] == b"hello"
    again.close()
    memory.unlink()
    # Before 3.13 Python keeps a descriptor of its own for a mapping, and closes it.
    if sys.version_info >= (3, 13):
        memory.close()
    else:
        kept.append(memory)
    with value.get_lock():
        value.value += 1
    array[999] = 7


# What is not closed before the end of the process.
kept: list = []


def may_have_children(mp) -> bool:
    """Returns whether this process may have children of its own."""
    return not mp.current_process().daemon


OPERATIONS = [value for name, value in globals().items() if name.startswith("use_")]


def perform(mp) -> None:
    """Does each operation after all descriptors were closed, and looks what became."""
    for operation in OPERATIONS:
        operations = operation(mp)
        next(operations)
        own = Own()
        try:
            for _ in operations:
                raise AssertionError("it is over")
            own.check()
        except BaseException as error:
            error.add_note(f"in {operation.__name__}")
            raise
        print(operation.__name__, flush=True)


def drop_capabilities() -> None:
    """Gives up what root may do, for this process and all that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    capability = 0
    while libc.prctl(24, capability, 0, 0, 0) == 0:  # PR_CAPBSET_DROP
        capability += 1
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    libc.capset(header, (ctypes.c_uint32 * 6)())


def main(method: str, where: str) -> None:
    """Performs here, in a child, or here without privileges."""
    if where == "unprivileged":
        drop_capabilities()
        where = "here"
    mp = library.multiprocessing.get_context(method)
    if where == "here":
        perform(mp)
        return
    process = mp.Process(target=perform, args=(mp,))
    process.start()
    process.join()
    assert process.exitcode == 0, process.exitcode


if __name__ == "__main__":
    main(*sys.argv[1:])
