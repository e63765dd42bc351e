"""What programs override is called with what the standard library calls it with."""

import socket
import threading
from typing import ClassVar

import pytest


class OnlyTargetAndArgs:
    """Mixes a constructor that knows no other keywords into a process."""

    def __init__(self, *, target, args) -> None:
        super().__init__(target=target, args=args)


def context_of(mp, mixin):
    """Returns a context like `mp` whose processes are of a class with a mixin."""
    process = type(mixin.__name__, (mixin, mp.Process), {})
    # Found there by a child that unpickles it.
    process.__qualname__ = f"{mp._name}_{mixin.__name__}"
    globals()[process.__qualname__] = process
    return type("Context", (type(mp),), {"Process": process})()


@pytest.mark.methods("fork")
def test_manager_starts_a_process_that_takes_target_and_arguments_only(lib, mp) -> None:
    managers = __import__(f"{lib.__name__}.managers").managers
    manager = managers.SyncManager(ctx=context_of(mp, OnlyTargetAndArgs))
    with manager:
        assert manager._process.daemon is False
        assert manager.list([1, 2])._getvalue() == [1, 2]


@pytest.mark.methods("fork")
def test_pool_starts_processes_that_take_target_and_arguments_only(lib, mp) -> None:
    pools = __import__(f"{lib.__name__}.pool").pool
    with pools.Pool(1, context=context_of(mp, OnlyTargetAndArgs)) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        pool.close()
        pool.join()


@pytest.mark.methods("fork")
def test_class_in_the_place_of_pool_is_made_as_the_standard_library_makes_it(
    lib, mp, monkeypatch
) -> None:
    class Pool:
        def __init__(
            self,
            processes=None,
            initializer=None,
            initargs=(),
            maxtasksperchild=None,
            context=None,
        ) -> None:
            self.given = processes, initargs, maxtasksperchild

    pools = __import__(f"{lib.__name__}.pool").pool
    monkeypatch.setattr(pools, "Pool", Pool)
    assert mp.Pool(3, initargs=(1,), maxtasksperchild=5).given == (3, (1,), 5)


BEYOND = ("blocked_on", "state", "stop_requested", "worker_index", "worker_state")


class WithAttributes:
    """Mixes attributes into a process that only procession's has, too."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for name in BEYOND:
            setattr(self, name, f"the program's {name}")

    def run(self) -> None:
        assert [getattr(self, name) for name in BEYOND] == [
            f"the program's {name}" for name in BEYOND
        ]


@pytest.mark.methods("fork")
def test_class_of_a_program_has_attributes_of_its_own(mp) -> None:
    process = context_of(mp, WithAttributes).Process()
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert process.state == "the program's state"
    del process.state
    assert process.state == "terminated"


@pytest.mark.procession_only("only there is an attribute that it can meet")
@pytest.mark.methods("fork")
def test_no_public_property_is_in_the_way_of_a_subclass(lib, mp) -> None:
    import concurrent.futures
    import multiprocessing.pool

    for ours, theirs in (
        (lib.Process, multiprocessing.Process),
        (lib.pool.Pool, multiprocessing.pool.Pool),
        (lib.futures.ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor),
    ):
        in_the_way = {
            name
            for name in dir(ours)
            if not name.startswith("_")
            and not hasattr(theirs, name)
            and type(getattr(ours, name)) is property
        }
        assert in_the_way == set(), ours


def server_classes(managers):
    """Returns subclasses of the server that know nothing of lines."""

    class Public(managers.Server):
        public: ClassVar = [
            name for name in managers.Server.public if name != "accept_line"
        ]

    class Accepting(managers.Server):
        accepted = 0

        def accept_connection(self, c, name) -> None:
            type(self).accepted += 1
            super().accept_connection(c, name)

    return Public, Accepting


@pytest.mark.methods("fork")
@pytest.mark.procession_only("the thread that accepts never ends")
@pytest.mark.parametrize("place", [0, 1])
def test_server_that_overrides_how_clients_are_met_is_asked(lib, mp, place) -> None:
    managers = __import__(f"{lib.__name__}.managers").managers
    kind = server_classes(managers)[place]

    class Manager(managers.SyncManager):
        _Server = kind

    server = Manager().get_server()
    server.stop_event = threading.Event()
    accepter = threading.Thread(target=server.accepter)
    accepter.start()
    manager = Manager(address=server.address)
    manager.connect()
    try:
        items = manager.list([1])
        items.append(2)
        assert items._getvalue() == [1, 2]
        assert getattr(kind, "accepted", 1) == 1
        del items
    finally:
        server.stop_event.set()
        # One more client, for who waits for one; it may wait no more, so this asks nothing.
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(server.address)
        accepter.join()
        server.listener.close()
