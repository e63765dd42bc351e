"""A program ends while a daemon thread of it runs Python in the middle of a call of ours.

Python before 3.14 ends such a thread by unwinding its stack, which native frames do not bear.
"""

import pytest

from_the_middle = {
    "unpickles what it receives": "a, b = Pipe(); b.send(Spins()); a.recv()",
    "pickles what it sends": "a, b = Pipe(); b.send(SpinsWhenPickled())",
    "unpickles what it gets": "q = Queue(); q.put(Spins()); q.get()",
    "pickles what it puts": "q = SimpleQueue(); q.put(SpinsWhenPickled())",
    "unpickles what it gets from a simple queue": "q = SimpleQueue(); q.put(Spins()); q.get()",
    "calls the action of a barrier": "Barrier(1, spin).wait()",
    "asks a predicate": "c = Condition(); c.acquire(); c.wait_for(spin)",
    "asks for the inputs of a pool": "Pool(1).map(abs, spin_after(1))",
    "calls a callback": "Pool(1).apply_async(abs, (1,), callback=spin).wait()",
    "unpickles a result": "Pool(1).apply(Spins)",
    "pickles the arguments of a task": "Pool(1).apply(abs, (SpinsWhenPickled(),))",
    "pickles the arguments of a process": "Process(target=abs, args=(SpinsWhenPickled(),)).start()",
    "makes the popen of a process": "Popens(target=abs).start()",
}


@pytest.mark.parametrize("call", from_the_middle.values(), ids=from_the_middle)
def test_program_ends_while_a_daemon_thread(call, program, method) -> None:
    if "Process(" in call and method == "fork":
        pytest.skip("the arguments of a fork are not pickled")
    code, out, err = program(
        """
        import sys, threading, time
        from multiprocessing import Barrier, Condition, Pipe, Pool, Process, Queue, SimpleQueue

        def spin(*_):
            if threading.current_thread() is not threading.main_thread():
                inside.set()
                while True:
                    pass

        def spin_after(item):
            yield item
            spin()

        class Spins:
            def __reduce__(self):
                return spin, ()

        class SpinsWhenPickled:
            def __reduce__(self):
                spin()

        class Popens(Process):
            def _Popen(self, process):
                spin()

        class Lingers:
            '''Gives the thread time to come back to an interpreter that ends.'''
            def __del__(self, sleep=time.sleep):
                sleep(0.1)

        inside = threading.Event()
        if __name__ == "__main__":
            sys.lingers = Lingers()
            text = sys.argv[1]
            threading.Thread(target=lambda: exec(text), daemon=True).start()
            inside.wait()
            print("ends")
    """,
        call,
    )
    assert (code, out, err) == (0, "ends\n", "")
