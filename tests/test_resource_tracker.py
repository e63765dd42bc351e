"""Trackers of resources: one of the class runs, the package's own has nothing to track."""

import os

import pytest

pytestmark = pytest.mark.slow

KILLED = """
    import os, signal, sys
    import _posixshmem
    from multiprocessing import resource_tracker

    class Tracker(resource_tracker.ResourceTracker):
        def _send(self, cmd, name, rtype):
            print(cmd, rtype, flush=True)
            super()._send(cmd, name, rtype)

    if __name__ == "__main__":
        tracker = Tracker()
        for name in sys.argv[1:]:
            os.close(_posixshmem.shm_open(name, os.O_CREAT | os.O_RDWR, 0o600))
            tracker.register(name, "shared_memory")
        _posixshmem.shm_unlink(sys.argv[1])
        tracker.unregister(sys.argv[1], "shared_memory")
        if tracker._check_alive() and tracker._fd == tracker.getfd():
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.methods("fork")
def test_tracker_of_the_class_removes_what_a_killed_program_leaves(program) -> None:
    names = [f"/pt-{os.getpid()}-{number}" for number in range(2)]
    code, out, err = program(KILLED, *names)
    assert code == -9, err
    assert out.split("\n") == [
        "REGISTER shared_memory",
        "REGISTER shared_memory",
        "UNREGISTER shared_memory",
        "",
    ]
    assert "1 leaked shared_memory objects" in err
    assert not any(os.path.exists(f"/dev/shm{name}") for name in names)


@pytest.mark.methods("fork")
def test_tracker_that_was_killed_is_started_anew(program) -> None:
    code, out, err = program("""
        import os, signal, warnings
        from multiprocessing.resource_tracker import ResourceTracker

        if __name__ == "__main__":
            warnings.simplefilter("ignore")
            tracker = ResourceTracker()
            tracker.ensure_running()
            first = tracker._pid
            os.kill(first, signal.SIGKILL)
            os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
            tracker.ensure_running()
            print(tracker._pid not in (None, first))
            tracker._stop()
            print(tracker._fd, tracker._pid)
    """)
    assert (code, out, err) == (0, "True\nNone None\n", "")
