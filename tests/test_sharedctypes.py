"""Values and arrays that processes share."""

import ctypes
import struct

import pytest
from library import load
from targets import sharedctypes as targets

VALUES = [
    ("i", 0, -5),
    ("I", 0, 2**32 - 1),
    ("b", 0, -128),
    ("B", 0, 255),
    ("h", 0, -(2**15)),
    ("H", 0, 2**16 - 1),
    ("l", 0, -(2**63)),
    ("L", 0, 2**64 - 1),
    ("q", 0, 2**62),
    ("Q", 0, 2**63),
    ("f", 0.5, -0.25),
    ("d", 0.1, 3.3e300),
    ("c", b"a", b"z"),
    ("u", "a", "é"),
    (ctypes.c_longlong, 2**33, 2**61),
    (ctypes.c_bool, False, True),
]


def told(kind) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", None)


# Values.


@pytest.mark.parametrize(("kind", "first", "second"), VALUES, ids=told)
def test_value_written_by_a_child_is_seen_here(call, mp, kind, first, second) -> None:
    for shared in (mp.Value(kind, first), mp.RawValue(kind, first)):
        assert shared.value == first
        call(targets.set_value, shared, second)
        assert shared.value == second


@pytest.mark.parametrize("kind", ["i", "d", ctypes.c_short])
def test_value_without_a_first_value_is_zero(lib, kind) -> None:
    assert lib.Value(kind).value == 0
    assert lib.RawValue(kind).value == 0


def test_value_written_here_is_seen_by_a_child_that_runs(mp, call) -> None:
    shared = mp.Value("i", 1)
    shared.value = 2
    assert call(targets.get_value, shared) == 2


def test_value_has_a_lock_and_the_object_under_it(lib) -> None:
    shared = lib.Value("i", 5)
    with shared.get_lock():
        shared.value += 1
    with shared as _:
        shared.value += 1
    assert shared.acquire() is True
    shared.release()
    assert shared.get_obj().value == 7
    assert type(shared.get_lock()) is type(lib.RLock())


def test_value_takes_the_lock_that_it_is_given(lib) -> None:
    lock = lib.Lock()
    for shared in (lib.Value("i", 5, lock=lock), lib.Array("i", 5, lock=lock)):
        assert shared.get_lock() is lock
    assert lib.Value("i", lock=True).get_lock() is not None
    with pytest.raises(AttributeError):
        lib.Value("i", lock="not a lock")


@pytest.mark.parametrize("kind", ["Value", "Array"])
def test_shared_object_without_a_lock_is_the_raw_one(lib, kind) -> None:
    shared = getattr(lib, kind)("i", 5, lock=False)
    assert not hasattr(shared, "get_lock")
    assert not hasattr(shared, "get_obj")
    assert not hasattr(getattr(lib, f"Raw{kind}")("i", 5), "get_lock")


@pytest.mark.slow
def test_nothing_is_lost_that_is_added_under_the_lock_of_a_value(mp, start) -> None:
    shared = mp.Value("i", 0)
    for process in [start(targets.add_under_own_lock, shared, 300) for _ in range(3)]:
        process.join()
    assert shared.value == 900


# Arrays.


def test_array_has_the_items_that_it_is_made_of(lib) -> None:
    for make in (lib.Array, lib.RawArray):
        shared = make("i", range(5))
        assert len(shared) == 5
        assert list(shared) == shared[:] == [0, 1, 2, 3, 4]
        assert shared[1:4] == [1, 2, 3]
        assert shared[-1] == 4
        assert shared[::-2] == [4, 2, 0]


def test_array_of_a_size_is_zeroed(lib) -> None:
    for make in (lib.Array, lib.RawArray):
        assert make("d", 4)[:] == [0.0] * 4
        assert make(ctypes.c_ushort, 3)[:] == [0] * 3


def test_array_items_are_set_one_by_one_and_in_slices(lib) -> None:
    shared = lib.Array("i", 6)
    shared[0] = 7
    shared[-1] = 8
    shared[1:3] = [4, 5]
    assert shared[:] == [7, 4, 5, 0, 0, 8]
    with pytest.raises(IndexError):
        shared[6]
    with pytest.raises((TypeError, ValueError)):
        shared[1:3] = [1, 2, 3]
    with pytest.raises(TypeError):
        shared[0] = "text"


def test_array_written_by_a_child_is_seen_here(mp, call) -> None:
    for shared in (mp.Array("i", 4), mp.RawArray("i", 4)):
        call(targets.set_items, shared, [4, 3, 2, 1])
        assert shared[:] == [4, 3, 2, 1]


def test_array_written_here_is_seen_by_a_child(mp, call) -> None:
    shared = mp.Array("d", [0.5, 1.5])
    shared[1] = 2.5
    assert call(targets.get_items, shared) == [0.5, 2.5]


def test_array_of_characters_is_a_string(lib) -> None:
    shared = lib.Array("c", 10)
    shared.value = b"hello"
    assert shared.value == b"hello"
    assert shared.raw == b"hello" + bytes(5)
    shared.raw = b"0123456789"
    assert shared[2:5] == b"234"
    assert lib.Array("c", b"text").value == b"text"


def test_array_of_no_items_is_allowed(lib) -> None:
    assert len(lib.Array("i", 0)) == 0
    assert lib.RawArray("i", [])[:] == []


@pytest.mark.slow
def test_nothing_is_lost_that_is_added_under_the_lock_of_an_array(mp, start) -> None:
    shared = mp.Array("i", 3)
    for process in [start(targets.add_to_all, shared, 100) for _ in range(3)]:
        process.join()
    assert shared[:] == [300] * 3


def test_structures_are_shared_alone_and_in_arrays(mp, call) -> None:
    point = mp.Value(targets.Point, 3, 1.5)
    points = mp.Array(targets.Point, [(1, 0.5), (2, 0.25)])
    call(targets.double, point, points)
    assert (point.x, point.y) == (6, 3.0)
    assert [(each.x, each.y) for each in points] == [(2, 1.0), (4, 0.5)]


@pytest.mark.slow
def test_large_array_is_shared_whole(mp, call) -> None:
    size = 20_000_000
    shared = mp.RawArray("B", size)
    view = memoryview(shared).cast("B")
    assert bytes(view[:10]) == bytes(10)
    assert view.nbytes == size
    call(targets.fill, shared, 7)
    assert bytes(view) == b"\x07" * size


def test_array_is_zeroed_though_others_lived_where_it_lives(lib) -> None:
    for _ in range(20):
        shared = lib.RawArray("B", 5000)
        assert bytes(shared) == bytes(5000)
        ctypes.memset(shared, 255, 5000)


def test_arrays_do_not_overlap(lib) -> None:
    arrays = [lib.RawArray("B", size) for size in range(1, 300, 7)]
    for number, shared in enumerate(arrays):
        ctypes.memset(shared, number, len(shared))
    for number, shared in enumerate(arrays):
        assert bytes(shared) == bytes([number]) * len(shared)


def test_items_are_where_their_alignment_wants_them(lib) -> None:
    for kind in "bhilqfd":
        for size in range(1, 20):
            address = ctypes.addressof(lib.RawArray(kind, size))
            assert address % struct.calcsize(kind) == 0


# The module.


def test_copy_shares_nothing_with_what_it_is_made_from(lib) -> None:
    copy = load("sharedctypes").copy
    first = lib.RawValue(targets.Point, 1, 2.5)
    second = copy(first)
    first.x = 9
    assert (second.x, second.y) == (1, 2.5)


def test_synchronized_gives_a_raw_object_a_lock(lib) -> None:
    raw = lib.RawArray("i", 3)
    shared = load("sharedctypes").synchronized(raw, lib.Lock())
    shared[0] = 5
    assert raw[0] == 5
    assert shared.get_obj() is raw
