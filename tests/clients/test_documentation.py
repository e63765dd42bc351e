"""What the standard documentation shows of `multiprocessing`, in programs of our own."""

import pytest

pytestmark = pytest.mark.slow


def test_pool_maps_a_function(prints) -> None:
    assert prints("""
        from multiprocessing import Pool

        def cube(x):
            return x ** 3

        if __name__ == "__main__":
            with Pool(3) as workers:
                print(workers.map(cube, [1, 2, 3]))
    """) == ["[1, 8, 27]"]


def test_processes_tell_who_they_are(prints) -> None:
    told = prints("""
        import os
        from multiprocessing import Process

        def tell(name):
            print(name, __name__ in ("__main__", "__mp_main__"), os.getppid() > 0)
            print("done", flush=True)

        if __name__ == "__main__":
            process = Process(target=tell, args=("anna",))
            process.start()
            process.join()
            print(process.exitcode)
    """)
    assert told == ["anna True True", "done", "0"]


def test_context_objects_have_what_the_module_has(prints) -> None:
    assert prints("""
        import multiprocessing as mp

        def answer(queue):
            queue.put("hello")

        if __name__ == "__main__":
            context = mp.get_context(mp.get_start_method())
            queue = context.Queue()
            process = context.Process(target=answer, args=(queue,))
            process.start()
            print(queue.get())
            process.join()
    """) == ["hello"]


def test_queues_and_pipes_exchange_objects(prints) -> None:
    assert prints("""
        from multiprocessing import Pipe, Process, Queue

        def put(queue):
            queue.put([42, None, "text"])

        def send(connection):
            connection.send([43, None, "text"])
            connection.close()

        if __name__ == "__main__":
            queue = Queue()
            receiver, sender = Pipe()
            both = Process(target=put, args=(queue,)), Process(target=send, args=(sender,))
            for process in both:
                process.start()
            print(queue.get(), receiver.recv())
            for process in both:
                process.join()
    """) == ["[42, None, 'text'] [43, None, 'text']"]


def test_lock_keeps_what_is_printed_apart(prints) -> None:
    told = prints("""
        import sys
        from multiprocessing import Lock, Process

        def tell(lock, number):
            with lock:
                for letter in f"hello {number}\\n":
                    sys.stdout.write(letter)
                    sys.stdout.flush()

        if __name__ == "__main__":
            lock = Lock()
            all = [Process(target=tell, args=(lock, number)) for number in range(5)]
            for process in all:
                process.start()
            for process in all:
                process.join()
    """)
    assert sorted(told) == [f"hello {number}" for number in range(5)]


def test_value_and_array_are_shared(prints) -> None:
    assert prints("""
        from ctypes import Structure, c_double
        from multiprocessing import Array, Lock, Process, Value
        from multiprocessing.sharedctypes import Array as Shared, Value as SharedValue

        class Point(Structure):
            _fields_ = [("x", c_double), ("y", c_double)]

        def change(number, numbers, text, points):
            number.value = 3.5
            for index in range(len(numbers)):
                numbers[index] = -numbers[index]
            text.value = text.value.upper()
            for point in points:
                point.x **= 2
                point.y **= 2

        if __name__ == "__main__":
            lock = Lock()
            number, numbers = Value("d", 0.0), Array("i", range(5))
            text = Shared("c", b"hello world", lock=lock)
            points = Shared(Point, [(1.5, -6.25), (-5.75, 2.0)], lock=lock)
            process = Process(target=change, args=(number, numbers, text, points))
            process.start()
            process.join()
            print(number.value, numbers[:], text.value)
            print([(point.x, point.y) for point in points])
    """) == [
        "3.5 [0, -1, -2, -3, -4] b'HELLO WORLD'",
        "[(2.25, 39.0625), (33.0625, 4.0)]",
    ]


def test_server_process_keeps_dictionaries_and_lists(prints) -> None:
    assert prints("""
        from multiprocessing import Manager, Process

        def change(mapping, items):
            mapping[1] = "1"
            mapping["2"] = 2
            mapping[0.25] = None
            items.reverse()

        if __name__ == "__main__":
            with Manager() as manager:
                mapping, items = manager.dict(), manager.list(range(5))
                process = Process(target=change, args=(mapping, items))
                process.start()
                process.join()
                print(mapping, items)
    """) == ["{1: '1', '2': 2, 0.25: None} [4, 3, 2, 1, 0]"]


def test_proxies_may_hold_proxies_and_copies_are_changed_by_assignment(prints) -> None:
    assert prints("""
        from multiprocessing import Manager

        if __name__ == "__main__":
            with Manager() as manager:
                outer = manager.list()
                inner = manager.list()
                outer.append(inner)
                inner.append("seen through the other")
                print(outer[0], len(outer))
                table = manager.list([manager.dict() for _ in range(2)])
                table[0]["a"] = 1
                print([dict(row) for row in table])
                plain = manager.list()
                plain.append({})
                row = plain[0]
                row["a"] = 1
                print(plain)
                plain[0] = row
                print(plain)
                space = manager.Namespace()
                space.x, space.y = 10, "text"
                space._hidden = 12.3
                print(space)
    """) == [
        "['seen through the other'] 1",
        "[{'a': 1}, {}]",
        "[{}]",
        "[{'a': 1}]",
        "Namespace(x=10, y='text')",
    ]


def test_pool_has_many_ways_to_call(prints) -> None:
    assert prints("""
        import multiprocessing, os, time
        from multiprocessing import Pool, TimeoutError

        def square(x):
            return x * x

        def wait_for(event):
            event.wait()

        if __name__ == "__main__":
            with multiprocessing.Manager() as manager, Pool(processes=4) as pool:
                print(pool.map(square, range(10)))
                print(sorted(pool.imap_unordered(square, range(10))))
                print(pool.apply_async(square, (20,)).get(timeout=30))
                pids = [pool.apply_async(os.getpid, ()) for _ in range(4)]
                print(len({result.get(timeout=30) for result in pids}) in range(1, 5))
                never = manager.Event()
                try:
                    pool.apply_async(wait_for, (never,)).get(timeout=0.05)
                except TimeoutError:
                    print("no result in time")
                never.set()
                iterator = pool.imap(square, range(3))
                print(next(iterator), next(iterator), iterator.next(timeout=30))
            try:
                pool.map(square, [1])
            except ValueError:
                print("the pool is closed")
    """) == [
        "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
        "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
        "400",
        "True",
        "no result in time",
        "0 1 4",
        "the pool is closed",
    ]


def test_manager_with_types_of_its_own(prints) -> None:
    assert prints("""
        import operator
        from multiprocessing import freeze_support
        from multiprocessing.managers import BaseManager, BaseProxy

        class Thing:
            def public(self):
                return "public"
            def other(self):
                return "other"
            def _private(self):
                return "private"

        def count():
            for number in range(4):
                yield number * number

        class GeneratorProxy(BaseProxy):
            _exposed_ = ["__next__"]
            def __iter__(self):
                return self
            def __next__(self):
                return self._callmethod("__next__")

        def get_operator():
            return operator

        class MyManager(BaseManager):
            pass

        MyManager.register("All", Thing)
        MyManager.register("Some", Thing, exposed=("other", "_private"))
        MyManager.register("count", count, proxytype=GeneratorProxy)
        MyManager.register("operator", get_operator)

        if __name__ == "__main__":
            freeze_support()
            with MyManager() as manager:
                everything, some = manager.All(), manager.Some()
                print(everything.public(), everything.other(), hasattr(everything, "_private"))
                print(some.other(), some._private(), hasattr(some, "public"))
                print(*manager.count())
                module = manager.operator()
                print(module.add(23, 45), module.pow(2, 10), module._exposed_ is not None)
    """) == [
        "public other False",
        "other private False",
        "0 1 4 9",
        "68 1024 True",
    ]


def test_workers_take_tasks_from_one_queue_and_answer_on_another(prints) -> None:
    told = prints("""
        from multiprocessing import Process, Queue, current_process

        def work(tasks, done):
            for function, arguments in iter(tasks.get, "STOP"):
                done.put((function.__name__, arguments, function(*arguments)))

        def times(a, b):
            return a * b

        def plus(a, b):
            return a + b

        if __name__ == "__main__":
            tasks, done = Queue(), Queue()
            for number in range(6):
                tasks.put((times, (number, 7)))
            workers = [Process(target=work, args=(tasks, done)) for _ in range(3)]
            for worker in workers:
                worker.start()
            results = [done.get() for _ in range(6)]
            for number in range(3):
                tasks.put((plus, (number, 8)))
            results += [done.get() for _ in range(3)]
            for _ in workers:
                tasks.put("STOP")
            for worker in workers:
                worker.join()
            for name, arguments, result in sorted(results):
                print(name, *arguments, result)
    """)
    times = [f"times {number} 7 {7 * number}" for number in range(6)]
    assert told == [f"plus {number} 8 {8 + number}" for number in range(3)] + times


def test_connections_are_waited_for_together(prints) -> None:
    assert prints("""
        from multiprocessing import Pipe, Process
        from multiprocessing.connection import wait

        def send(writer, name):
            for number in range(3):
                writer.send((name, number))
            writer.close()

        if __name__ == "__main__":
            readers, got = [], []
            for name in "abc":
                reader, writer = Pipe(duplex=False)
                readers.append(reader)
                Process(target=send, args=(writer, name)).start()
                # Else the end of the child would not be seen.
                writer.close()
            while readers:
                for reader in wait(readers):
                    try:
                        got.append(reader.recv())
                    except EOFError:
                        readers.remove(reader)
            print(sorted(got) == [(name, n) for name in "abc" for n in range(3)])
    """) == ["True"]


def test_listener_and_client_send_objects_and_bytes(prints) -> None:
    assert prints("""
        from array import array
        from multiprocessing import Process
        from multiprocessing.connection import Client, Listener

        def call(address):
            with Client(address, authkey=b"secret password") as connection:
                print(connection.recv())
                print(connection.recv_bytes())
                numbers = array("i", [0, 0, 0, 0, 0])
                print(connection.recv_bytes_into(numbers), numbers)

        if __name__ == "__main__":
            with Listener(("localhost", 0), authkey=b"secret password") as listener:
                process = Process(target=call, args=(listener.address,))
                process.start()
                with listener.accept() as connection:
                    connection.send([2.25, None, "junk", float])
                    connection.send_bytes(b"hello")
                    connection.send_bytes(array("i", [42, 1729]))
                process.join()
    """) == [
        "[2.25, None, 'junk', <class 'float'>]",
        "b'hello'",
        "8 array('i', [42, 1729, 0, 0, 0])",
    ]


def test_shared_memory_is_found_by_its_name(prints) -> None:
    assert prints("""
        from multiprocessing import Process
        from multiprocessing.managers import SharedMemoryManager
        from multiprocessing.shared_memory import ShareableList, SharedMemory

        def change(name):
            memory = SharedMemory(name=name)
            memory.buf[:5] = b"HELLO"
            memory.close()

        def double(items, start, stop):
            for index in range(start, stop):
                items[index] *= 2

        if __name__ == "__main__":
            memory = SharedMemory(create=True, size=10)
            memory.buf[:5] = b"hello"
            process = Process(target=change, args=(memory.name,))
            process.start()
            process.join()
            print(bytes(memory.buf[:5]))
            memory.close()
            memory.unlink()
            with SharedMemoryManager() as manager:
                items = manager.ShareableList(range(10))
                both = [
                    Process(target=double, args=(items, 0, 5)),
                    Process(target=double, args=(items, 5, 10)),
                ]
                for process in both:
                    process.start()
                for process in both:
                    process.join()
                print(sum(items))
    """) == ["b'HELLO'", "90"]
