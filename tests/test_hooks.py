"""Steps of a start that programs replace, as debuggers, profilers and the like do."""

import textwrap

import pytest
import script

pytestmark = pytest.mark.slow


@pytest.fixture
def plain(tmp_path, method):
    """Returns a function that runs a program by `python` alone; returns what it prints.

    Its last argument is the start method.
    """

    def plain(text: str) -> list[str]:
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        command = script.python("multiprocessing", path, method)
        code, out, err = script.run(command, cwd=tmp_path)
        assert (code, err) == (0, ""), err
        return out.splitlines()

    return plain


START = """
    def work(number):
        return number * number

    if __name__ == "__main__":
        REPLACE
        for number in range(2):
            process = multiprocessing.Process(target=work, args=(3,))
            process.start()
            process.join()
            assert process.exitcode == 0
        with multiprocessing.Pool(2) as pool:
            assert pool.map(work, range(4)) == [0, 1, 4, 9]
        print(len(seen))
"""

PASSFDS = """
        import multiprocessing.util as util
        seen, original = [], util.spawnv_passfds
        def spawnv_passfds(path, args, passfds):
            assert "-c" in args and "--multiprocessing-fork" in args
            pid = original(path, args, passfds)
            seen.append(pid)
            return pid
        util.spawnv_passfds = spawnv_passfds
"""

FORK_EXEC = """
        import _posixsubprocess
        seen, original = [], _posixsubprocess.fork_exec
        def fork_exec(args, *others):
            assert "-c" in args
            seen.append(args)
            return original(args, *others)
        _posixsubprocess.fork_exec = fork_exec
"""

# In each process that is started, or that starts others.
COUNTED = {"spawn": "4", "forkserver": "1"}


@pytest.mark.methods("spawn", "forkserver")
@pytest.mark.procession_only("it starts a resource tracker so, too")
@pytest.mark.parametrize("replace", [PASSFDS, FORK_EXEC])
def test_replaced_way_to_start_interpreters_is_gone(prints, method, replace) -> None:
    text = "\n    import multiprocessing\n" + START.replace("REPLACE", replace.strip())
    assert prints(text) == [COUNTED[method]]


@pytest.mark.methods("spawn", "forkserver")
@pytest.mark.parametrize("replace", [PASSFDS, FORK_EXEC])
def test_what_was_replaced_in_the_standard_library_is_gone_through(
    plain, method, replace
) -> None:
    text = START.replace("REPLACE", replace.strip()).replace(
        "for number",
        "multiprocessing.set_start_method(sys.argv[1])\n        for number",
    )
    text = "\n    import procession as multiprocessing, sys\n" + text
    # `import multiprocessing.util` would name the other package.
    text = text.replace(
        "import multiprocessing.util", "from multiprocessing import util"
    )
    text = text.replace("import util as util", "import util")
    assert plain(text) == [COUNTED[method]]


@pytest.mark.methods("spawn")
def test_replaced_command_line_is_used(prints) -> None:
    assert prints("""
        import multiprocessing, multiprocessing.spawn, sys

        def tell(queue):
            queue.put(sys.flags.dont_write_bytecode)

        if __name__ == "__main__":
            original = multiprocessing.spawn.get_command_line

            def get_command_line(**kwds):
                first, *others = original(**kwds)
                return [first, "-B", *others]

            multiprocessing.spawn.get_command_line = get_command_line
            queue = multiprocessing.Queue()
            for _ in range(3):
                process = multiprocessing.Process(target=tell, args=(queue,))
                process.start()
                print(queue.get())
                process.join()
    """) == ["1", "1", "1"]


# What is in a module of its own, which a child finds before it has read the main module.
TOOL = """
    import multiprocessing.process
    from multiprocessing import spawn

    original = multiprocessing.process.BaseProcess._bootstrap

    def _bootstrap(self, *args, **kwargs):
        print("before", self.name, flush=True)
        try:
            return original(self, *args, **kwargs)
        finally:
            print("after", flush=True)

    class Stowaway:
        def __init__(self):
            self.made = True

        def __setstate__(self, state):
            replace()

    def replace():
        multiprocessing.process.BaseProcess._bootstrap = _bootstrap
        tell = spawn.get_preparation_data
        spawn.get_preparation_data = lambda name: {
            **tell(name), "stowaway": Stowaway()
        }
"""

BOOTSTRAP = """
    import IMPORTED
    import multiprocessing, sys

    def work(code):
        print("work", NAME.current_process().name, flush=True)
        sys.exit(code)

    if __name__ == "__main__":
        import tool
        tool.replace()
        for code in (0, 3):
            context = NAME.get_context(sys.argv[1])
            process = context.Process(target=work, args=(code,), name="child")
            process.start()
            process.join()
            print(process.exitcode)
"""


@pytest.fixture
def tool(tmp_path):
    """Puts a tool beside the program."""
    (tmp_path / "tool.py").write_text(textwrap.dedent(TOOL))


@pytest.mark.procession_only("it is what is compared with")
@pytest.mark.parametrize(
    ("imported", "name"),
    [
        ("procession", "procession"),
        ("procession; procession.install()", "multiprocessing"),
        ("multiprocessing.process, procession", "procession"),
    ],
)
def test_replaced_bootstrap_is_gone_through(plain, tool, imported, name) -> None:
    text = BOOTSTRAP.replace("IMPORTED", imported).replace("NAME", name)
    told = ["before child", "work child", "after"]
    assert plain(text) == [*told, "0", *told, "3"]


@pytest.mark.procession_only("it is what is compared with")
def test_install_leaves_what_was_replaced_before(plain, tool) -> None:
    text = BOOTSTRAP.replace("IMPORTED", "procession").replace(
        "NAME", "multiprocessing"
    )
    text = text.replace(
        "for code in (0, 3):",
        "procession.install()\n"
        "        import multiprocessing\n"
        "        for code in (0, 3):",
    )
    told = ["before child", "work child", "after"]
    assert plain(text) == [*told, "0", *told, "3"]


@pytest.mark.methods("fork")
@pytest.mark.procession_only("it is what is compared with")
@pytest.mark.parametrize("install", ["", "procession.install()"])
def test_what_is_registered_with_the_standard_library_is_done_in_children(
    plain, install
) -> None:
    assert plain(
        """
    import multiprocessing.util, procession, sys
    from multiprocessing import current_process, parent_process, util

    class Thing:
        pass

    def work():
        print("work", current_process().name, parent_process().pid == parent)
        util.Finalize(None, print, ("at the end",), exitpriority=0)

    if __name__ == "__main__":
        import os
        parent = os.getpid()
        thing = Thing()
        util.register_after_fork(thing, lambda thing: print("renewed"))
        INSTALL
        context = procession.get_context(sys.argv[1])
        process = context.Process(target=work, name="child")
        process.start()
        process.join()
    """.replace("INSTALL", install)
    ) == ["renewed", "work child True", "at the end"]


@pytest.mark.methods("fork")
@pytest.mark.procession_only("it is what is compared with")
def test_queue_of_the_standard_library_is_put_to_in_our_children(plain) -> None:
    assert plain("""
    import multiprocessing, procession, sys

    def work(queue):
        queue.put("from the child")

    if __name__ == "__main__":
        queue = multiprocessing.Queue()
        queue.put("from the parent")
        print(queue.get())
        context = procession.get_context(sys.argv[1])
        process = context.Process(target=work, args=(queue,), name="child")
        process.start()
        print(queue.get(timeout=20))
        process.join()
        queue.close()
    """) == ["from the parent", "from the child"]


@pytest.mark.methods("forkserver")
@pytest.mark.procession_only("it is forked in any case")
def test_watched_fork_server_is_forked_in_spite_of_threads(prints) -> None:
    # A debugger has some in each interpreter that it has started.
    assert prints("""
        import multiprocessing, multiprocessing.util as util, sys

        WATCHED = "import threading; threading.Thread(target=threading.Event().wait, " \\
            "daemon=True).start(); "

        def work(number):
            return number * number

        if __name__ == "__main__":
            original = util.spawnv_passfds

            def spawnv_passfds(path, args, passfds):
                place = args.index("-c") + 1
                args[place] = WATCHED + args[place]
                return original(path, args, passfds)

            util.spawnv_passfds = spawnv_passfds
            with multiprocessing.Pool(2) as pool:
                print(pool.map(work, range(4)))
    """) == ["[0, 1, 4, 9]"]


@pytest.mark.methods("forkserver")
def test_replaced_start_of_the_fork_server_is_called(prints) -> None:
    assert prints("""
        import multiprocessing, multiprocessing.forkserver as forkserver, os

        def tell(queue):
            queue.put(os.environ["SET_BEFORE"])

        if __name__ == "__main__":
            original = forkserver.ForkServer.ensure_running

            def ensure_running(self):
                os.environ["SET_BEFORE"] = "set before"
                original(self)

            forkserver.ForkServer.ensure_running = ensure_running
            queue = multiprocessing.SimpleQueue()
            process = multiprocessing.Process(target=tell, args=(queue,))
            process.start()
            print(queue.get())
            process.join()
    """) == ["set before"]


@pytest.mark.methods("fork")
def test_replaced_tracker_is_told_of_shared_memory(prints) -> None:
    assert prints("""
        from multiprocessing import resource_tracker, shared_memory

        if __name__ == "__main__":
            resource_tracker.register = lambda name, rtype: print("made", rtype)
            resource_tracker.unregister = lambda name, rtype: print("gone", rtype)
            memory = shared_memory.SharedMemory(create=True, size=8)
            memory.close()
            memory.unlink()
    """) == ["made shared_memory", "gone shared_memory"]
