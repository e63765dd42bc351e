"""What the children of test_manager_types.py do with the things of a manager."""

from library import PATIENCE, load


def use_list(items) -> list:
    items.append(0)
    items.extend([1])
    items.insert(0, 9)
    items.sort()
    items.reverse()
    items[0] = 9
    assert items.pop(1) == 3
    items.insert(1, 3)
    assert list(items) == items[:]
    return items[:]


def use_dict(mapping) -> dict:
    assert mapping.pop("b") == 2
    mapping["a"] = 10
    mapping.update({"c": 3})
    assert mapping.setdefault("d") is None
    mapping["e"] = 1
    assert mapping.popitem() == ("e", 1)
    assert "a" in mapping
    return mapping.copy()


def keys_of(mapping) -> list:
    return sorted(mapping)


def use_set(things) -> set:
    things.add(3)
    things.discard(1)
    return set(things)


def use_namespace(space, value) -> int:
    space.y = "new"
    del space.x
    value.value += 1
    return value.value


def use_array(numbers) -> list:
    numbers[1] = 20
    return numbers[:]


def use_queues(tasks, answers) -> None:
    while (number := tasks.get()) is not None:
        answers.put(number * 10)
        tasks.task_done()


def count_under(lock, counter, times: int) -> None:
    for _ in range(times):
        with lock:
            counter.value += 1


def wait_for_item(condition, items) -> None:
    with condition:
        assert condition.wait_for(lambda: len(items) > 0, PATIENCE)
    items.append("seen")


def meet(event, barrier) -> None:
    event.set()
    barrier.wait(PATIENCE)


def square(number: int) -> int:
    return number * number


def use_pool(pool) -> list:
    return pool.map(square, range(4))


def use_nested(outer) -> int:
    outer["inner"][0]["deep"] += 1
    return outer["inner"][0]["deep"]


class Thing:
    """A thing with methods of every kind."""

    def __init__(self, number: int) -> None:
        self.number = number

    def public(self) -> int:
        return self.number

    def up(self) -> None:
        self.number += 1

    def _private(self) -> str:
        return "private"

    def __len__(self) -> int:
        return self.number


class Manager(load("managers").BaseManager):
    """A manager of things, once they are registered with it."""


def use_thing(thing) -> None:
    thing.up()
