"""The event loops that a test of awaiting runs in: asyncio's, uvloop's and trio's.

The tests are written for anyio, which has one set of names for all of them; what they
await is the library's own.
"""

import importlib
from collections.abc import Awaitable, Callable

import pytest
from library import PATIENCE

try:
    anyio = importlib.import_module("anyio")
except ModuleNotFoundError:
    anyio = None  # The fixture skips all that would need it.


class Loop:
    """A kind of event loop."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, main: Callable[..., Awaitable], *args: object) -> object:
        """Runs a coroutine function in a loop of its own; returns its result."""

        async def watched() -> object:
            with anyio.fail_after(2 * PATIENCE):
                return await main(*args)

        options = {"use_uvloop": True} if self.name == "uvloop" else {}
        backend = "trio" if self.name == "trio" else "asyncio"
        return anyio.run(watched, backend=backend, backend_options=options)


def of(name: str) -> Loop:
    """Returns a kind of event loop, or skips the test where it is not installed."""
    if anyio is None:
        pytest.skip("anyio is not installed: pip install --group clients")
    if name != "asyncio":
        pytest.importorskip(
            name, reason=f"{name} is not installed: pip install --group clients"
        )
    if name == "trio":
        # Its idle threads would end after ten seconds, for which who looks behind waits.
        importlib.import_module("trio._core._thread_cache").IDLE_TIMEOUT = 0.1
    loop = Loop(name)
    # What libuv opens once for a process.
    loop.run(anyio.sleep, 0)
    return loop


async def until_idle() -> None:
    """Lets all tasks of the loop come to where they wait."""
    await anyio.wait_all_tasks_blocked()


async def ended(awaitable: Awaitable) -> bool:
    """Awaits something a moment; tells whether it came to its end."""
    with anyio.move_on_after(0.05):
        await awaitable
        return True
    return False
