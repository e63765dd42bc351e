"""The pools of test_pool_queues.py, and what their workers do."""

import os
import signal

from library import load


class Counting(load("pool").Pool):
    """A pool that counts what it puts."""

    put_count = 0

    def _setup_queues(self) -> None:
        self._inqueue = self._ctx.SimpleQueue()
        self._outqueue = self._ctx.SimpleQueue()
        self._quick_put = self._put
        self._quick_get = self._outqueue._reader.recv

    def _put(self, task) -> None:
        if task is not None:
            self.put_count += 1
        self._inqueue._writer.send(task)


class Repopulating(Counting):
    """A pool that starts its workers itself, too."""

    def _repopulate_pool(self) -> None:
        for _ in range(self._processes - len(self._pool)):
            arguments = (
                self._inqueue,
                self._outqueue,
                self._initializer,
                self._initargs,
                self._maxtasksperchild,
                self._wrap_exception,
            )
            worker = self.Process(self._ctx, target=load("pool").worker, args=arguments)
            self._pool.append(worker)
            worker.daemon = True
            worker.start()


def square(number: int) -> int:
    return number * number


def fail(reason: str) -> None:
    raise ValueError(reason)


def kill_this() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
