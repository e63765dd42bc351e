"""What a hub keeps: what becomes of it when those that use it die, stop or are interrupted."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import procession
import pytest
import script
from library import MOMENT, PATIENCE, gone, wait_until
from procession import _test_tasks as tasks
from procession.connection import Client
from procession.distributed import EngineUnavailable, _session
from procession.distributed._wire import receive_exactly
from procession.distributed.hub import Hub

pytestmark = pytest.mark.slow


# Only processes of this machine are started with it; the cluster's own need no method.
forked = pytest.mark.methods("fork")


def waiting(context) -> int:
    """Returns how many requests wait at the hub of a context."""
    hub = context._hub
    return sum(
        len(line) for each in [*hub._kept.values()] for line in each.waiting.values()
    )


def test_item_that_its_getter_has_not_confirmed_goes_to_another(context) -> None:
    items = context.Queue()
    items.put_many("ab")
    line = _session.session_of(items._address)._new_line(False)
    message = None, items._number, "get", (), None
    line._sock.sendall(_session._framed(message))
    (size,) = _session.LENGTH.unpack(receive_exactly(line._sock, 8))
    receive_exactly(line._sock, size)
    assert items.qsize() == 1
    line.close()  # As by the death of a process that has not read the answer.
    wait_until(lambda: items.qsize() == 2)
    assert items.get() == "a"


def test_one_who_has_not_confirmed_that_it_is_to_run_the_action_has_not_come(
    context,
) -> None:
    done = []
    meeting = context.Barrier(1, action=lambda: done.append("done"))
    line = _session.session_of(meeting._address)._new_line(False)
    line._sock.sendall(_session._framed((None, meeting._number, "wait", (True,), None)))
    (size,) = _session.LENGTH.unpack(receive_exactly(line._sock, 8))
    receive_exactly(line._sock, size)
    assert meeting.n_waiting == 1
    line.close()
    wait_until(lambda: meeting.n_waiting == 0)
    assert meeting.wait(PATIENCE) == 0 and done == ["done"]


@pytest.mark.parametrize(
    "message", [5, (b"end of another",), ("meet",), (None, 1, 2, 3, 4), ("make", 1, 2)]
)
def test_hub_serves_on_whatever_one_connection_sends(context, message) -> None:
    items = context.Queue()
    line = _session.session_of(items._address)._new_line(False)
    line._sock.settimeout(PATIENCE)
    line._sock.sendall(_session._framed(message))
    told = line._sock.recv(1)  # The end, or an error.
    if told:
        line._sock.sendall(_session.LENGTH.pack(5) + b"hello")
    line.close()
    items.put("item")
    assert items.get(timeout=PATIENCE) == "item"


class Alarm(Exception):
    """Raised by a handler of a signal."""


@pytest.fixture
def alarm():
    """Returns a function that has a handler raise in this thread, once it waits."""
    threads = []

    def handler(signum, frame) -> None:
        raise Alarm

    def alarm(context) -> None:
        def ring() -> None:
            wait_until(lambda: waiting(context) or sleepers(context))
            # Python runs it there, and the call that waits there is to notice it.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)

        threads.append(threading.Thread(target=ring))
        threads[-1].start()

    before = signal.signal(signal.SIGUSR2, handler)
    yield alarm
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGUSR2, before)


def sleepers(context) -> int:
    """Returns how many wait at conditions."""
    objects = [*context._hub._kept.values()]
    return sum(len(getattr(each, "_sleepers", ())) for each in objects)


def test_call_that_is_interrupted_takes_nothing(context, alarm) -> None:
    items, lock = context.Queue(), context.Lock()
    alarm(context)
    with pytest.raises(Alarm):
        items.get()
    items.put("item")
    assert items.get(timeout=PATIENCE) == "item"
    lock.acquire()
    alarm(context)
    with pytest.raises(Alarm):
        lock.acquire()
    lock.release()
    assert lock.acquire(timeout=PATIENCE)
    full = context.Queue(1)
    full.put(1)
    alarm(context)
    with pytest.raises(Alarm):
        full.put(2)
    assert full.get() == 1
    wait_until(lambda: not waiting(context))
    assert full.empty()


def test_wait_at_a_condition_that_is_interrupted_has_the_lock_again(
    context, alarm
) -> None:
    changed = context.Condition()
    with changed, changed:
        alarm(context)
        with pytest.raises(Alarm):
            changed.wait()
        changed.notify()  # Which only a holder may.
    with pytest.raises(AssertionError):
        changed.notify()


def test_one_who_leaves_a_barrier_has_not_come(context, alarm) -> None:
    meeting = context.Barrier(2)
    alarm(context)
    with pytest.raises(Alarm):
        meeting.wait()
    wait_until(lambda: meeting.n_waiting == 0)
    assert not meeting.broken


@forked
def test_one_who_dies_at_a_barrier_has_come(mp, context, start) -> None:
    meeting = context.Barrier(2)
    doomed = start(meeting.wait)
    wait_until(lambda: meeting.n_waiting == 1)
    doomed.kill()
    doomed.join()
    assert meeting.wait(PATIENCE) == 1


@forked
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_one_whose_wait_ends_by_a_death_gets_that_error(
    mp, context, start, kind
) -> None:
    changed, told = context.Condition(getattr(context, kind)()), context.Queue()

    def wait() -> None:
        try:
            with changed:
                changed.wait()
        except procession.OwnerDied:
            told.put("died")

    waiter = start(wait)
    wait_until(lambda: sleepers(context))
    doomed = start(tasks.die_with, changed)
    doomed.join()
    assert told.get(timeout=PATIENCE) == "died"
    waiter.join()
    assert changed.acquire(timeout=PATIENCE)
    changed.release()


@forked
def test_deadline_of_one_who_died_waiting_is_nobodys(mp, context, start) -> None:
    changed = context.Condition()

    def wait() -> None:
        with changed:
            changed.wait(0.5)

    doomed = start(wait)
    wait_until(lambda: sleepers(context))
    doomed.kill()
    doomed.join()
    wait_until(lambda: not sleepers(context))
    # The deadline passes, and the hub serves on.
    wait_until(lambda: not context._hub._deadlines)
    assert changed.acquire(timeout=PATIENCE)
    changed.release()


@forked
def test_forked_process_is_a_user_of_its_own(mp, context, start) -> None:
    lock, tree, items = context.Lock(), context.RLock(), context.Queue()
    lock.acquire()
    tree.acquire()
    child = start(items.put, "mine")
    child.join()
    # Its end has freed nothing of its parent's, and has not closed its connections.
    assert items.get(timeout=PATIENCE) == "mine"
    assert lock.locked() and tree.locked()
    lock.release()
    tree.release()
    child = start(lock.acquire)
    child.join()
    with pytest.raises(procession.OwnerDied, match=f"pid {child.pid}"):
        lock.acquire(timeout=PATIENCE)


@forked
def test_copy_by_a_plain_fork_does_not_keep_a_dead_process_alive(
    mp, context, start
) -> None:
    lock, told = context.Lock(), context.Queue()
    child = start(take_fork_and_die, lock, told)
    grandchild = told.get(timeout=PATIENCE)
    try:
        child.join()
        with pytest.raises(procession.OwnerDied):
            lock.acquire(timeout=PATIENCE)
        os.kill(grandchild, 0)  # It lives.
    finally:
        os.kill(grandchild, signal.SIGKILL)


def take_fork_and_die(lock, told) -> None:
    lock.acquire()
    pid = os.fork()
    if pid == 0:
        signal.pause()
    told.put(pid)
    os.kill(os.getpid(), signal.SIGKILL)


def test_one_who_does_not_know_the_key_is_sent_away(context) -> None:
    address = context.Event()._address
    with pytest.raises(procession.AuthenticationError):
        Client(address, authkey=b"a guess")
    assert context.Lock().acquire()


def test_silent_stranger_does_not_hold_up_others(context) -> None:
    import socket

    lock = context.Lock()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(lock._address)
        assert lock.acquire(timeout=PATIENCE)


def test_those_that_wait_are_told_of_the_end(lib) -> None:
    context = procession.get_context("loopback://1")
    items = context.Queue()
    told = []

    def get() -> None:
        try:
            items.get()
        except EngineUnavailable as error:
            told.append(str(error))

    thread = threading.Thread(target=get)
    thread.start()
    wait_until(lambda: waiting(context))
    context.close()
    thread.join()
    assert "does not answer any more" in told[0]
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        items.qsize()
    # The next object is of another hub.
    assert context.Lock().acquire()
    context.close()


def test_large_items_pass_beside_small_ones(context) -> None:
    items, small = context.Queue(), context.Queue()
    data = os.urandom(20 << 20)
    putter = threading.Thread(target=items.put, args=(data,))
    putter.start()
    for number in range(50):
        small.put(number)
        assert small.get() == number
    assert items.get(timeout=PATIENCE) == data
    putter.join()


def test_those_that_wait_are_served_in_turn(context) -> None:
    lock, order = context.Lock(), []
    lock.acquire()

    def take(place: int) -> None:
        with lock:
            order.append(place)

    threads = []
    for place in range(5):
        threads.append(threading.Thread(target=take, args=(place,)))
        threads[-1].start()
        wait_until(lambda: waiting(context) == len(threads))
    lock.release()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_wait_takes_as_long_as_was_said(context) -> None:
    lock, event, items = context.Lock(), context.Event(), context.Queue()
    changed = context.Condition(lock)
    with lock:
        for wait in (
            lambda: lock.acquire(timeout=MOMENT),
            lambda: event.wait(MOMENT),
            lambda: changed.wait(MOMENT),
            lambda: changed.wait_for(lambda: False, MOMENT),
        ):
            before = time.monotonic()
            assert wait() is False
            assert time.monotonic() - before >= MOMENT
    with pytest.raises(procession.queues.Empty):
        items.get(timeout=-1)


CLIENT = """
    import os, sys, time
    import procession

    def wait(items, told):
        told.put((int(os.environ["PROCESSION_NODE_PID"]), os.getpid()))
        items.get()

    if __name__ == "__main__":
        context = procession.get_context("loopback://2?lease=600")
        items, told = context.Queue(), context.Queue()
        with context.Pool() as pool:
            results = [pool.apply_async(wait, (items, told)) for _ in range(2)]
            print(*told.get(), *told.get(), flush=True)
            results[0].get()
"""


def test_nobody_waits_at_the_hub_of_a_killed_program(tmp_path) -> None:
    path = tmp_path / "client.py"
    path.write_text(textwrap.dedent(CLIENT))
    with subprocess.Popen(
        [sys.executable, path], stdout=subprocess.PIPE, text=True
    ) as process:
        pids = [int(each) for each in process.stdout.readline().split()]
        process.kill()
    assert len(pids) == 4
    wait_until(lambda: all(map(gone, pids)))


def test_program_that_ends_leaves_nothing_behind() -> None:
    program = """
import os, procession, tempfile
context = procession.get_context("loopback://2")
items, lock, changed = context.Queue(), context.Lock(), context.Condition()
lock.acquire()
items.put(1)
print("done")
"""
    code, out, err = script.run([sys.executable, "-W", "error", "-c", program])
    assert (code, out, err) == (0, "done\n", "")


# Its hub has fewer descriptors than there are connections.
SCARCE = """
    import os, resource, threading
    import procession

    def wait(gate, event):
        gate.wait()
        threads = [threading.Thread(target=event.wait) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    if __name__ == "__main__":
        context = procession.get_context("loopback://1")
        gate, event = context.Event(), context.Event()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        process = procession.get_context("fork").Process(target=wait, args=(gate, event))
        process.start()
        most = max(map(int, os.listdir("/proc/self/fd"))) + 4
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        gate.set()
        refused = threading.Event()
        while context._hub._closed_until is None:
            refused.wait(0.001)
        assert not event.is_set()  # Who has connected is served.
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        event.set()
        process.join()
        print(process.exitcode)
"""


def test_hub_without_descriptors_serves_those_who_have_one(tmp_path) -> None:
    path = tmp_path / "scarce.py"
    path.write_text(textwrap.dedent(SCARCE))
    assert script.run([sys.executable, path]) == (0, "0\n", "")


# The only network of its namespace is cut; the hub has to notice by itself.
CUT = """
    import fcntl, os, signal, socket, struct, sys, time
    import procession
    from procession.distributed import EngineUnavailable, _session
    from procession.distributed.hub import Hub
    from procession.distributed.synchronize import Event, Lock

    def network(is_up):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            flags = 1 if is_up else 0
            fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", flags))

    def hold(lock, held):
        lock.acquire()
        held.set()
        signal.pause()

    if __name__ == "__main__":
        network(True)
        hub = Hub("127.0.0.1", b"key", lease=2)
        _session.keys[hub.address] = b"key"
        lock, held = Lock(hub.address), Event(hub.address)
        holder = procession.get_context("fork").Process(target=hold, args=(lock, held))
        holder.start()
        assert held.wait(60)
        before = len(hub._users)
        network(False)
        end = time.monotonic() + 60
        while hub._users:
            assert time.monotonic() < end, "the hub has not noticed it"
            time.sleep(0.05)
        network(True)
        try:
            lock.locked()
        except EngineUnavailable:
            print(before, "users were lost")
        try:
            lock.acquire(timeout=60)
        except procession.OwnerDied:
            print("told")
        print(lock.acquire(timeout=60), holder.is_alive())
        holder.kill()
        holder.join()
        hub.close()
"""


def test_user_on_a_network_that_is_cut_is_lost_when_its_lease_is_over(tmp_path) -> None:
    apart = ["unshare", "--map-root-user", "--net"]
    try:
        subprocess.run([*apart, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace of its own: {error}")
    path = tmp_path / "cut.py"
    path.write_text(textwrap.dedent(CUT))
    code, out, err = script.run([*apart, sys.executable, path])
    assert (code, err) == (0, "")
    assert out.splitlines() == ["2 users were lost", "told", "True True"]


def test_hub_is_reached_by_tcp_where_nodes_are_elsewhere(lib, monkeypatch) -> None:
    from procession.distributed.loopback import Loopback

    monkeypatch.setattr(Loopback, "client_host", lambda self: "127.0.0.1")
    context = procession.get_context("loopback://2?slots=1")
    try:
        total, row = context.Value("i", 0), context.Array("i", 2)
        assert total._address[0] == "127.0.0.1"
        with context.Pool() as pool, context.Manager() as manager:
            pool.starmap(tasks.add_to, [(total, row, 20)] * 2, chunksize=1)
            assert (
                pool.apply(
                    tasks.fill_managed,
                    (manager.dict(), manager.list([manager.list([1, 2])])),
                )
                == 2
            )
        assert total.value == 40
    finally:
        context.close()


def test_hub_without_objects_ends(lib) -> None:
    hub = Hub(None, b"key", 30)
    hub.close()
    hub.close()
    assert not hub._thread.is_alive()


def work_and_note(items, lock, path) -> None:
    """Notes each item that it gets, and when it has the lock, until it gets None."""
    note = os.open(path, os.O_WRONLY | os.O_APPEND)
    me = os.getpid()
    for item in iter(items.get, None):
        os.write(note, b"got %d\n" % item)
        while True:
            try:
                lock.acquire()
                break
            except procession.OwnerDied:
                os.write(note, b"told %d\n" % me)
        os.write(note, b"in %d\n" % me)
        os.write(note, b"out %d\n" % me)
        lock.release()


@forked
def test_kills_at_random_cost_what_the_dead_had_in_their_hands(
    mp, context, start, tmp_path
) -> None:
    path, count, kills = tmp_path / "notes", 3000, 0
    path.touch()
    items, lock, chance = context.Queue(50), context.Lock(), random.Random(7)
    putter = threading.Thread(target=lambda: [items.put(n) for n in range(count)])
    putter.start()
    workers = [start(work_and_note, items, lock, path) for _ in range(4)]
    while putter.is_alive():
        putter.join(chance.random() * 0.05)
        victim = chance.choice(workers)
        victim.kill()
        victim.join()
        kills += 1
        workers[workers.index(victim)] = start(work_and_note, items, lock, path)
    for _ in workers:
        items.put(None)
    for worker in workers:
        worker.join(PATIENCE)
        assert worker.exitcode == 0
    assert kills > 5 and items.empty()
    notes = [line.split() for line in path.read_text().splitlines()]
    got = [number for what, number in notes if what == "got"]
    assert len(got) == len({*got}) and count - kills <= len(got)
    holder = None
    for what, who in notes:
        if what == "in":
            assert holder is None, "two had the lock at a time"
            holder = who
        elif what == "out":
            assert holder == who
            holder = None
        elif what == "told":
            holder = None
    assert sum(what == "told" for what, _ in notes) <= kills
    try:
        assert lock.acquire(timeout=PATIENCE)
    except procession.OwnerDied:  # Nobody has wanted it since.
        assert lock.acquire(timeout=PATIENCE)
