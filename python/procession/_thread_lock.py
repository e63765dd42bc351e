"""Holding a lock so that no handler of a signal leaves it locked.

From CPython 3.14 on a handler may raise between two steps of a `with` statement: when it has
taken its lock, and before it would release the lock again. Other threads, and the same one at
its next try, would wait for ever.
"""

from __future__ import annotations

from ._procession import GuardedField, under_lock

__all__ = ["GuardedField", "under_lock"]
