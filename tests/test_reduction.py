"""What crosses by reducers: registered types, sockets, connections, descriptors."""

import os
import socket

import pytest
from library import PATIENCE, load
from targets import reduction as targets


@pytest.mark.parametrize("way", ["by_arguments", "by_queue", "by_pipe", "by_pool"])
def test_registered_reducer_is_used_on_every_way(mp, way) -> None:
    thing = getattr(targets, way)(mp, targets.Unpicklable(17), targets.value_of)
    assert thing == 17


def test_registered_reducer_is_used_for_results(mp) -> None:
    with mp.Pool(1) as pool:
        assert pool.apply(targets.Unpicklable, (4,)).value == 4


def test_pickler_itself_uses_registered_reducers(lib) -> None:
    pickler = load("reduction").ForkingPickler
    copy = pickler.loads(pickler.dumps(targets.Unpicklable(5)))
    assert copy.value == 5


@pytest.mark.parametrize("way", ["by_arguments", "by_queue", "by_pipe", "by_pool"])
def test_socket_is_the_same_in_the_child(mp, way) -> None:
    near, far = socket.socketpair()
    with near, far:
        assert getattr(targets, way)(mp, far, targets.send_word) is None
        near.settimeout(PATIENCE)
        assert near.recv(100) == b"a word"
    stop_sharing()


@pytest.mark.parametrize("way", ["by_arguments", "by_queue", "by_pipe", "by_pool"])
def test_connection_is_the_same_in_the_child(mp, way) -> None:
    here, there = mp.Pipe()
    with here, there:
        assert getattr(targets, way)(mp, there, targets.echo_once, here) is None
        assert here.poll(PATIENCE)
        assert here.recv() == "a word"
    stop_sharing()


@pytest.mark.parametrize("way", ["by_arguments", "by_queue", "by_pipe", "by_pool"])
def test_descriptor_is_duplicated_for_the_child(mp, way, tmp_path) -> None:
    # As torch hands on the files of its storages.
    with open(tmp_path / "file", "w+b") as file:
        file.write(b"some text")
        file.flush()
        wrapped = targets.File(file.fileno())
        assert getattr(targets, way)(mp, wrapped, targets.read_all) == b"some text"
        assert os.fstat(file.fileno()).st_size == 9
    stop_sharing()


def test_descriptor_is_handed_over_a_connection(mp, start, tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"some text")
    reduction = load("reduction")
    here, there = mp.Pipe()
    with here, there, open(path, "rb") as file:
        child = start(targets.receive_handle, there)
        reduction.send_handle(here, file.fileno(), child.pid)
        assert here.recv() == b"some text"
        child.join()


def test_method_and_partial_cross(mp) -> None:
    assert targets.by_arguments(mp, [1, 2].__len__, targets.call) == 2
    assert targets.by_arguments(mp, str.upper, targets.call, "a") == "A"


def stop_sharing() -> None:
    """Ends the thread that hands out descriptors."""
    load("resource_sharer").stop(timeout=PATIENCE)
