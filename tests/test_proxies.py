"""Proxies away from their manager: in messages, in children, inside one another."""

import pytest
from library import PATIENCE, load
from targets import proxies as targets


@pytest.fixture(params=[None, b"a key of its own"])
def manager(mp, request):
    manager = targets.StoreManager(authkey=request.param, ctx=mp)
    with manager:
        yield manager
    manager.join()  # Lets go of the process.


@pytest.mark.procession_only("a proxy does not take the key along")
def test_proxy_in_a_message_works_whatever_the_managers_key(manager, mp, start) -> None:
    messages, answers = mp.Queue(), mp.Queue()
    items, nested = manager.list(), manager.list([manager.list([1, 2, 3])])
    child = start(targets.append_from_message, messages, answers)
    messages.put((items, nested))
    assert answers.get(timeout=PATIENCE) == 2
    child.join()
    assert items[:] == [3]
    with mp.Pool(1) as pool:
        assert pool.apply(targets.length, (nested,)) == 2


@pytest.mark.procession_only("whoever has the proxy has to know the key")
def test_stranger_without_the_key_is_refused(manager, lib) -> None:
    connection = load("connection")
    with pytest.raises(lib.AuthenticationError):
        connection.Client(manager.address, authkey=b"another key")
    with pytest.raises(lib.AuthenticationError):
        connection.Client(manager.address, authkey=bytes(16))
    assert manager.list([1])[:] == [1]


@pytest.mark.procession_only("a type is only known where its manager is")
def test_method_in_a_child_returns_the_proxy_of_its_type(manager, mp, start) -> None:
    answers = mp.Queue()
    shelf, plain = manager.Shelf(), manager.PlainShelf()
    start(targets.run, targets.double_new_box, shelf, answers)
    assert answers.get(timeout=PATIENCE) == 42
    start(targets.run, targets.use_plain_box, plain, answers)
    assert answers.get(timeout=PATIENCE) == 5


@pytest.mark.procession_only("a type is only known where its manager is")
def test_method_in_a_child_returns_a_proxy_though_its_type_cannot_cross(
    manager, mp, start
) -> None:
    answers = mp.Queue()
    shelf = manager.PlainShelf()
    start(targets.run, exposed_of_local, shelf, answers)
    assert "bit_count" in answers.get(timeout=PATIENCE)


def exposed_of_local(shelf) -> list:
    return list(shelf.number()._exposed_)


@pytest.mark.procession_only("it is kept there for ever")
def test_nested_object_ends_with_the_last_that_refers_to_it(manager) -> None:
    shelf, items = manager.Shelf(), manager.list()
    for content in range(5):
        items.append(manager.Box(content))
    assert shelf.number() == 5
    assert [items[place].get() for place in range(5)] == list(range(5))
    del items[1:]
    # What the last answer has taken along is let go of with the next question.
    assert items[0].get() == 0
    assert shelf.number() == 1
    last = items.pop()
    assert (last.get(), shelf.number()) == (0, 1)
    outer = manager.Box(manager.Box(manager.Box(7)))
    assert shelf.number() == 4
    assert outer.get().get().get() == 7
    del outer
    assert len(items) == 0
    assert shelf.number() == 1


@pytest.mark.procession_only("it is kept there for ever")
def test_nested_object_that_is_taken_out_arrives(manager, mp, start) -> None:
    items, things = manager.list(), manager.Queue()
    for content in range(20):
        items.append(manager.Box(content))
        things.put(manager.Box(content))
    for content in range(20):
        assert items.pop(0).get() == content
        assert things.get().get() == content
    assert manager.Shelf().number() == 0
