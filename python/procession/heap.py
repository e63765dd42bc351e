"""Shared memory for ctypes objects: a thin cover over a block of the arena.

`multiprocessing.heap` manages memory-mapped files here. The engine does that now; what
is left are the names that clients import.
"""

from __future__ import annotations

from . import _procession

__all__ = ["BufferWrapper"]


class BufferWrapper:
    """A piece of memory that all processes see which have the object.

    Args:
        size: The number of bytes; they are zero at first.

    Raises:
        ValueError: The size is negative.
        MemoryError: There is not that much memory.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"size {size:n} out of range")
        self._block = _procession.Block(size)

    def create_memoryview(self) -> memoryview:
        """Returns a writable view of the memory, which keeps it alive."""
        return memoryview(self._block)
