"""What test_proxies.py has a manager keep, and what its processes do with it."""

import weakref
from typing import ClassVar

from library import load


class Shelf:
    """Makes boxes, and counts those that are there."""

    boxes: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def box(self, content) -> "Box":
        return Box(content)

    def number(self) -> int:
        return len(self.boxes)


class Box:
    """Holds something."""

    def __init__(self, content=None) -> None:
        self.content = content
        Shelf.boxes.add(self)

    def get(self):
        return self.content

    def put(self, content) -> None:
        self.content = content


class BoxProxy(load("managers").BaseProxy):
    """A proxy with a method of its own."""

    _exposed_ = ("get", "put")

    def get(self):
        return self._callmethod("get")

    def doubled(self):
        return self._callmethod("get") * 2

    def put(self, content) -> None:
        self._callmethod("put", (content,))


class StoreManager(load("managers").SyncManager):
    """A manager of shelves."""


StoreManager.register("Box", Box, BoxProxy)
StoreManager.register("Made", None, BoxProxy)
StoreManager.register("Plain", None, exposed=("get", "put"))
StoreManager.register("Shelf", Shelf, method_to_typeid={"box": "Made"})
StoreManager.register(
    "PlainShelf", Shelf, method_to_typeid={"box": "Plain", "number": "Local"}
)


class LocalType:
    """Makes a proxy, and crosses with a start only."""

    def __call__(self, *args, **kwds):
        return load("managers").AutoProxy(*args, **kwds)

    def __reduce__(self):
        if load("context").get_spawning_popen() is None:
            raise TypeError("it cannot cross")
        return LocalType, ()


StoreManager.register("Local", None, LocalType())


def append_from_message(messages, answers) -> None:
    """Uses the proxies that come in messages."""
    items, nested = messages.get()
    items.append(len(nested[0]))
    nested.append(items)
    answers.put(len(nested))


def length(items) -> int:
    return len(items)


def double_new_box(shelf) -> int:
    box = shelf.box(21)
    assert type(box).__name__ == "BoxProxy"
    return box.doubled()


def use_plain_box(shelf) -> int:
    box = shelf.box(4)
    box.put(box.get() + 1)
    return box.get()


def run(job, argument, answers) -> None:
    answers.put(job(argument))
