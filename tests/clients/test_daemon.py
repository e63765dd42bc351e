"""python-daemon, which closes every descriptor and leaves the session."""

import os
import threading

import pytest

PACKAGE = "daemon"
pytestmark = pytest.mark.slow


def test_daemon_has_processes_locks_and_pools(program, tmp_path) -> None:
    os.mkfifo(tmp_path / "told")
    told = []
    # Ends when all have closed it, and so when the daemon has ended.
    reader = threading.Thread(
        target=lambda: told.append((tmp_path / "told").read_text())
    )
    reader.start()
    code, _out, err = program("""
        import multiprocessing, os, sys
        import daemon

        def square(number):
            return number * number

        def tell(lock, queue):
            with lock:
                queue.put("told")

        if __name__ == "__main__":
            lock = multiprocessing.Lock()
            log = open("told", "w")
            with daemon.DaemonContext(
                working_directory=".", stdout=log, stderr=log
            ):
                queue = multiprocessing.Queue()
                process = multiprocessing.Process(target=tell, args=(lock, queue))
                process.start()
                print(queue.get())
                process.join()
                with multiprocessing.Pool(2) as pool:
                    print(pool.map(square, range(4)))
                with multiprocessing.Manager() as manager:
                    print(manager.list([1, 2]))
    """)
    assert (code, err) == (0, "")
    reader.join()
    assert told == ["told\n[0, 1, 4, 9]\n[1, 2]\n"]
