"""Every public name of the running interpreter's `multiprocessing` is here too, and takes the same arguments."""

import importlib
import inspect
import multiprocessing
import pkgutil
import types
from collections.abc import Iterator
from inspect import Parameter

import pytest

THEIRS, OURS = "multiprocessing", "procession"

# What is not here, or takes other arguments, each with its reason. Nothing of it is in
# the documentation of `multiprocessing`.
DIFFERENT = {
    "forkserver.ForkServer.connect_to_new_process": "the engine starts and talks to the server",
    "forkserver.MAXFDS_TO_SEND": "so it does, and any number can be sent",
    "forkserver.connect_to_new_process": "so it does",
    "forkserver.main": "so it does",
    "forkserver.read_signed": "so it does",
    "forkserver.write_signed": "so it does",
    "heap.Arena": "the engine has the memory",
    "heap.Heap": "so it has",
    "heap.rebuild_arena": "so it has",
    "heap.reduce_arena": "so it has",
    "sharedctypes.template": "the text of a class, which is made otherwise here",
    "spawn._main": "what a child is sent comes by the engine",
}

# Parameters that stand for all that are not named.
REST = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}


def modules() -> list[str]:
    found = pkgutil.walk_packages(multiprocessing.__path__, f"{THEIRS}.")
    return [THEIRS, *(each.name for each in found if not each.name.endswith("_win32"))]


def pair(name: str) -> tuple[types.ModuleType, types.ModuleType]:
    theirs = importlib.import_module(name)
    return theirs, importlib.import_module(OURS + name.removeprefix(THEIRS))


def public_names(module: types.ModuleType) -> list[str]:
    """Returns the names that a module has made itself, or says that it exports."""
    made = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            getattr(value, "__module__", None) == module.__name__
            or isinstance(value, (int, float, str, bytes))
        )
    }
    return sorted(made | set(getattr(module, "__all__", ())))


def refusal(theirs: object, ours: object) -> str | None:
    """Says why a call that the one takes may be refused by the other, if it may."""
    try:
        wanted = inspect.signature(theirs).parameters
        given = inspect.signature(ours).parameters
    except (TypeError, ValueError):
        return None  # Some of those that are written in C do not tell.
    kinds = {each.kind for each in given.values()}
    told = [each.kind for each in wanted.values() if each.name != "self"]
    if kinds >= REST or (told and REST.issuperset(told)):
        return None
    for place, want in enumerate(wanted.values()):
        if want.kind in REST:
            if want.kind not in kinds:
                return f"takes no {want}"
        elif not want.name.startswith("_"):
            reason = refusal_of(want, place, given)
            if reason is not None:
                return reason
    for have in given.values():
        besides = have.name not in wanted and have.kind not in REST
        if besides and have.default is have.empty and have.name != "self":
            return f"needs {have.name}, too"
    return None


def refusal_of(want: Parameter, place: int, given) -> str | None:
    """Says why a parameter is not there as it is wanted, if it is not."""
    have = given.get(want.name)
    if have is None:
        return f"has no {want.name}"
    if want.kind is Parameter.POSITIONAL_OR_KEYWORD:
        if list(given).index(want.name) != place:
            return f"has {want.name} in another place"
        if have.kind is Parameter.KEYWORD_ONLY:
            return f"takes {want.name} by its name only"
        if have.kind is Parameter.POSITIONAL_ONLY and want.name != "self":
            return f"does not take {want.name} by its name"
    if want.default is want.empty:
        return None
    # Where the default is to have nothing, there are several ways to say so.
    nothing = not want.default and not have.default
    if repr(have.default) != repr(want.default) and not nothing:
        return f"has {want.name}={have.default!r}, not {want.default!r}"
    return None


def faults(theirs: types.ModuleType, ours: types.ModuleType) -> Iterator[str]:
    for name in public_names(theirs):
        where = f"{theirs.__name__}.{name}".removeprefix(f"{THEIRS}.")
        wanted = getattr(theirs, name)
        if where in DIFFERENT:
            continue
        if not hasattr(ours, name):
            yield f"{where} is missing"
        elif inspect.isclass(wanted):
            yield from faults_of_class(where, wanted, getattr(ours, name))
        elif callable(wanted):
            reason = refusal(wanted, getattr(ours, name))
            if reason is not None:
                yield f"{where} {reason}"


def faults_of_class(name: str, theirs: type, ours: object) -> Iterator[str]:
    if not inspect.isclass(ours):
        yield f"{name} is no class"
        return
    public = [each for each in dir(theirs) if not each.startswith("_")]
    for member in ["__init__", *public]:
        where = f"{name}.{member}"
        wanted = getattr(theirs, member)
        if where in DIFFERENT:
            continue
        if not hasattr(ours, member):
            yield f"{where} is missing"
        elif callable(wanted) and not inspect.isclass(wanted):
            reason = refusal(wanted, getattr(ours, member))
            if reason is not None:
                yield f"{where} {reason}"


@pytest.mark.parametrize("name", modules())
def test_public_names_take_what_they_take_in_the_interpreters_own(lib, name) -> None:
    assert list(faults(*pair(name))) == []


def test_each_difference_is_one(lib) -> None:
    named = set()
    for name in modules():
        theirs, ours = pair(name)
        for where in DIFFERENT:
            module, _, path = where.partition(".")
            if f"{THEIRS}.{module}" != name:
                continue
            first, _, member = path.partition(".")
            wanted, given = getattr(theirs, first), getattr(ours, first, None)
            if member:
                wanted, given = getattr(wanted, member), getattr(given, member, None)
            if given is None or refusal(wanted, given) is not None:
                named.add(where)
    assert named == set(DIFFERENT)


def test_fault_is_seen() -> None:
    def theirs(first, second=None, *, third=1): ...
    def fewer(first, second=None): ...
    def other_place(second=None, first=None, *, third=1): ...
    def other_default(first, second=None, *, third=2): ...
    def more(first, second=None, fourth=4, *, third=1): ...

    assert refusal(theirs, theirs) is refusal(theirs, more) is None
    assert refusal(theirs, fewer) == "has no third"
    assert refusal(theirs, other_place) == "has first in another place"
    assert refusal(theirs, other_default) == "has third=2, not 1"
