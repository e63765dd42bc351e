"""The public names of the Python package, each as an entry of the reference."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

# What `multiprocessing` has for its own use.
INTERNAL = {"managers.BaseProxy", "managers.Token"}


def directives(modules: list[str]) -> str:
    """Returns what has mkdocstrings show the public names of modules, in their order.

    Instead of a module, a single name may be given: classes of which users get objects without calling them by name
    are in no `__all__`.
    """
    return "\n".join(_entry(name) for module in modules for name in _names(module))


def _names(module: str) -> Iterator[str]:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        yield module
        return
    for name in found.__all__:
        full = f"{module}.{name}"
        if full.removeprefix("procession.") not in INTERNAL and _is_ours(full):
            yield full


def find(name: str) -> Any:
    """Returns the object of a full name."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def _is_ours(name: str) -> bool:
    """Tells whether it is not the standard library's, as `queue.Empty` is."""
    return getattr(find(name), "__module__", "procession").startswith("procession")


def home(name: str) -> str:
    """Returns the full name under which the sources define a public name."""
    thing = find(name)
    if inspect.ismethod(
        thing
    ):  # The package's functions are methods of the default context.
        return f"{thing.__func__.__module__}.{thing.__func__.__qualname__}"
    if name == "procession.reducer":
        return "procession.context.BaseContext.reducer"
    return name


def _entry(name: str) -> str:
    return (
        f"[](){{ #{name} }}\n\n::: {home(name)}\n    options:\n      heading: {name}\n"
        f"      toc_label: {name.rpartition('.')[2]}\n"
    )
