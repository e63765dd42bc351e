"""What a program drops, and where it prints to, holds for what it starts from there on."""

import os

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.procession_only("its fork server keeps what the program has dropped"),
]

NEEDS_ROOT = pytest.mark.skipif(
    os.getuid() != 0, reason="only root has something to drop"
)

TELLING = """
    import ctypes, os, sys
    import procession as mp

    LIBC = ctypes.CDLL(None, use_errno=True)

    def call(name, *arguments):
        if getattr(LIBC, name)(*arguments) != 0:
            error = ctypes.get_errno()
            print("skip", name, os.strerror(error), flush=True)
            os._exit(0)

    def status(*names):
        lines = open("/proc/thread-self/status").read().splitlines()
        # A fresh image has its effective ids for its saved ones.
        return [
            line.split()[:3] if line[1:4] == "id:" else line
            for line in lines
            if line.split(":")[0] in names
        ]

    def look():
        wanted = ["Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs"]
        if sys.argv[-1] == "bounds":
            # A fresh image has no more than the bounds; who set them may have.
            wanted.remove("CapEff")
            wanted.remove("CapPrm")
        spaces = ("user", "mnt", "net", "uts", "ipc", "cgroup", "pid_for_children")
        links = [os.readlink(f"/proc/thread-self/ns/{name}") for name in spaces]
        return [*status(*wanted), *links, os.stat("/").st_ino]

    def tell(queue):
        queue.put(look())

    # What is dropped; after `ids` the interpreter may be out of reach.
    def ids():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    def effective():
        os.setegid(65534)
        os.seteuid(65534)

    def groups():
        os.setgroups([4242])

    def bounds():
        call("prctl", 24, 10, 0, 0, 0)  # PR_CAPBSET_DROP

    def no_new_privileges():
        call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS

    def names():
        call("unshare", 0x04000000)  # CLONE_NEWUTS

    def network():
        call("unshare", 0x40000000)  # CLONE_NEWNET

    def start():
        queue = mp.SimpleQueue()
        process = mp.Process(target=tell, args=(queue,))
        process.start()
        process.join()
        return queue.get() if process.exitcode == 0 else None

    if __name__ == "__main__":
        assert start() == look()
        globals()[sys.argv[-1]]()
        try:
            found = start()
        except PermissionError as error:
            print("refused", error, flush=True)
            os._exit(0)
        if found is None:
            # It may not even read the program.
            assert not os.access(__file__, os.R_OK, effective_ids=True)
            print("refused")
        else:
            assert found == look(), (found, look())
            print("the same")
            assert start() == look()
            with mp.Pool(1) as pool:
                assert pool.apply(look) == look()
"""


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("ids", marks=NEEDS_ROOT),
        pytest.param("effective", marks=NEEDS_ROOT),
        pytest.param("groups", marks=NEEDS_ROOT),
        pytest.param("bounds", marks=NEEDS_ROOT),
        pytest.param("names", marks=NEEDS_ROOT),
        pytest.param("network", marks=NEEDS_ROOT),
        "no_new_privileges",
    ],
)
def test_child_has_no_privilege_that_the_program_has_dropped(
    lib, program, what
) -> None:
    code, out, err = program(TELLING, what)
    assert code == 0, err
    if out.startswith("skip"):
        pytest.skip(out)
    assert out.startswith("refused") or (out, err) == ("the same\n", "")


REDIRECTED = """
    import os, sys
    import procession as mp

    def say(what):
        print(what, flush=True)
        print(what, file=sys.stderr, flush=True)

    def start(what):
        for daemon in (False, True):
            process = mp.Process(target=say, args=(what,), daemon=daemon)
            process.start()
            process.join()
            assert process.exitcode == 0, process.exitcode

    if __name__ == "__main__":
        start("first")
        files = [os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND) for name in "ab"]
        os.dup2(files[0], 1)
        start("a")
        os.dup2(files[1], 1)
        os.dup2(files[1], 2)
        start("b")
        os.dup2(files[0], 2)
        os.close(1)
        start("no output")
        assert open("a").read() == "a\\na\\nno output\\nno output\\n", open("a").read()
        assert open("b").read() == 4 * "b\\n", open("b").read()
        os._exit(0)
"""


@pytest.mark.methods("spawn", "forkserver")
def test_child_prints_where_the_programs_streams_go_now(lib, program) -> None:
    code, out, err = program(REDIRECTED)
    assert code == 0, err
    assert out == "first\n" * 2
    assert err == "first\n" * 2 + "a\n" * 2


MOVED = """
    import ctypes, os, select, sys
    import procession as mp
    from procession import connection

    def move():
        if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
            print("skip: no other network namespace is to be had", flush=True)
            os._exit(0)

    def put(queue, ready, moves):
        if moves:
            move()
        ready.wait()
        queue.put(1)

    if __name__ == "__main__":
        who = sys.argv[-1]
        ready, queue = mp.Event(), mp.Queue()
        if who == "parent":
            move()
        process = mp.Process(target=put, args=(queue, ready, who == "child"))
        process.start()
        number = queue._reader.fileno()
        ready.set()
        # The bell alone: whoever waits for the queue itself also looks at it.
        poll = select.poll()
        poll.register(number, select.POLLIN)
        while process.is_alive() and not poll.poll(50):
            pass
        assert process.exitcode == 0 or poll.poll(0), process.exitcode
        if process.exitcode == 0 and queue.empty():
            print("skip", flush=True)
            os._exit(0)
        assert poll.poll(0)
        assert connection.wait([queue._reader], 30)
        assert queue.get() == 1
        process.join()
        print("heard")
"""


@NEEDS_ROOT
@pytest.mark.parametrize("who", ["child", "parent"])
def test_child_in_another_network_namespace_is_heard(lib, program, who) -> None:
    code, out, err = program(MOVED, who)
    assert (code, err) == (0, "")
    if "skip" in out:
        pytest.skip(out)
    assert out == "heard\n"
