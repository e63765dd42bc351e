"""How long an object of a hub is there: as long as a process has a handle of it."""

import gc

import pytest
from library import PATIENCE, wait_until
from procession import _test_tasks as tasks
from procession.distributed import _pickling

pytestmark = pytest.mark.slow


# Only processes of this machine are started with it; the cluster's own need no method.
forked = pytest.mark.methods("fork")


def kept(context) -> int:
    """Returns how many objects the hub of a context keeps."""
    return len(context._hub._kept)


def objects(context) -> int:
    """Returns how many objects the hub keeps, once it was told of handles that are gone."""
    gc.collect()
    context._probe.is_set()
    return kept(context)


@pytest.fixture
def probed(context):
    """Returns a context with an object, by which the hub is told something."""
    context._probe = context.Event()
    yield context
    del context._probe


def test_object_ends_with_its_last_handle(probed) -> None:
    before = objects(probed)
    for _ in range(10):
        probed.Queue().put(bytes(1000))
        probed.Condition()
        probed.Value("i")
    assert objects(probed) == before
    items = probed.Queue()
    copy = _pickling.loads(_pickling.dumps_held(items))
    assert copy == items and objects(probed) == before + 1
    del items
    copy.put(1)
    assert copy.get(timeout=PATIENCE) == 1
    del copy
    assert objects(probed) == before


def test_objects_of_tasks_end_with_them(probed) -> None:
    before = objects(probed)
    with probed.Pool(1) as pool:
        go = probed.Event()
        gates = [pool.apply_async(go.wait, (PATIENCE,))]
        # The program has dropped them when the worker gets them.
        gates += [
            pool.apply_async(put_and_get, (probed.Queue(), probed.Condition()))
            for _ in range(5)
        ]
        told = pool.map_async(put_and_get_one, [probed.Queue() for _ in range(5)])
        go.set()
        assert [each.get(PATIENCE) for each in gates] == [True, *"aaaaa"]
        assert told.get(PATIENCE) == [*"bbbbb"]
        del go, gates, told
        # A worker tells of them when it talks to the hub the next time, or ends.
        pool.apply(probed._probe.is_set)
        wait_until(lambda: objects(probed) <= before + 2)
    wait_until(lambda: objects(probed) == before)


def put_and_get(items, changed) -> str:
    with changed:
        items.put("a")
    return items.get(timeout=PATIENCE)


def put_and_get_one(items) -> str:
    items.put("b")
    return items.get(timeout=PATIENCE)


def test_object_of_a_task_is_there_when_it_is_tried_again(probed, tmp_path) -> None:
    before = objects(probed)
    with probed.Pool(1, retries=1) as pool:
        path = str(tmp_path / "once")
        result = pool.apply_async(die_once_with, (path, probed.Queue()))
        assert result.get(PATIENCE) == "alive"
        del result
    wait_until(lambda: objects(probed) == before)


def die_once_with(path, items) -> str:
    items.put("alive")
    tasks.die_once(path)
    return items.get(timeout=PATIENCE)


def test_object_that_a_task_keeps_is_there(probed) -> None:
    before = objects(probed)
    with probed.Pool(1) as pool:
        pool.apply(keep_for_later, (probed.Queue(),))
        gc.collect()
        pool.apply(put_into_what_was_kept, (7,))
        assert pool.apply(get_from_what_was_kept) == 7
        # Sent by value, so that it counts to the end of the hub.
        sent = pool.apply(return_what_was_kept)
    sent.put(8)
    assert sent.get(timeout=PATIENCE) == 8
    del sent
    assert objects(probed) == before + 1


def keep_for_later(items) -> None:
    tasks.kept_items = items


def put_into_what_was_kept(item) -> None:
    tasks.kept_items.put(item)


def get_from_what_was_kept() -> object:
    return tasks.kept_items.get(timeout=PATIENCE)


def return_what_was_kept() -> object:
    return tasks.kept_items


def test_objects_of_a_process_end_with_it(probed) -> None:
    before = objects(probed)
    process = probed.Process(target=put_and_get_one, args=(probed.Queue(),))
    process.start()
    assert process.result(PATIENCE) == "b"
    process.close()
    wait_until(lambda: objects(probed) == before)


@forked
def test_object_that_a_forked_process_has_is_there(mp, context, start) -> None:
    items, told, go = context.Queue(), context.Queue(), context.Event()
    child = start(put_later, items, told, go)
    del items
    gc.collect()
    go.set()
    assert told.get(timeout=PATIENCE) == "there"
    child.join()


def put_later(items, told, go) -> None:
    go.wait(PATIENCE)
    items.put("there")
    told.put(items.get(timeout=PATIENCE))


def test_handle_of_an_object_that_has_ended_says_so(context) -> None:
    pickled = _pickling.dumps_held(context.Queue())
    pickled.handles = ()
    context.Event().is_set()
    with pytest.raises(LookupError, match="has ended"):
        _pickling.loads(pickled)
