"""A server of managers that strangers use: each side on procession or the standard library."""

import textwrap

import pytest
import script

# First in each program: on the standard library's side there is no procession at all.
ALONE = """
    import multiprocessing, sys
    sys.modules.setdefault("procession", None)
"""

SERVER = (
    ALONE
    + """
    import queue
    from multiprocessing.managers import BaseManager, DictProxy, IteratorProxy, ListProxy

    class Server(BaseManager):
        pass

    class Account:
        def __init__(self, balance):
            self.balance = balance
        def add(self, amount):
            self.balance += amount
            return self.balance
        def fail(self):
            raise LookupError("no such account")
        def history(self):
            return iter([1, 2, 3])

    jobs, results, settings, account = queue.Queue(), queue.Queue(), {}, Account(10)
    Server.register("jobs", callable=lambda: jobs)
    Server.register("results", callable=lambda: results)
    Server.register("settings", callable=lambda: settings, proxytype=DictProxy)
    Server.register("items", callable=list, proxytype=ListProxy)
    Server.register(
        "account", callable=lambda: account, method_to_typeid={"history": "Iterator"}
    )
    Server.register("Iterator", proxytype=IteratorProxy, create_method=False)

    if __name__ == "__main__":
        address = ("127.0.0.1", 0) if sys.argv[1] == "AF_INET" else sys.argv[2]
        server = Server(address=address, authkey=b"the key").get_server()
        print(repr(server.address), flush=True)
        server.serve_forever()
"""
)

CLIENT = (
    ALONE
    + """
    import ast
    from multiprocessing import AuthenticationError
    from multiprocessing.managers import BaseManager, DictProxy, IteratorProxy, ListProxy

    class Client(BaseManager):
        pass

    for name in ("jobs", "results", "account"):
        Client.register(name)
    Client.register("settings", proxytype=DictProxy)
    Client.register("items", proxytype=ListProxy)
    Client.register("Iterator", proxytype=IteratorProxy, create_method=False)

    if __name__ == "__main__":
        address = ast.literal_eval(sys.argv[1])
        client = Client(address=address, authkey=b"the key")
        client.connect()
        jobs, results = client.jobs(), client.results()
        for job in range(5):
            jobs.put({"job": job})
        while not jobs.empty():
            results.put(jobs.get()["job"] ** 2)
        print([results.get() for _ in range(results.qsize())])
        settings = client.settings()
        settings["key"] = "value"
        settings.update(other=(1, 2.5, None, b"bytes"))
        print(sorted(settings.items()), len(settings), "key" in settings)
        items = client.items()
        items.extend(range(100_000))
        print(len(items[:]), items[-1], sum(items[::1000]))
        account = client.account()
        print(account.add(7), account.add(amount=-1), *account.history())
        try:
            account.fail()
        except LookupError as error:
            print(repr(error))
        try:
            account.absent()
        except AttributeError as error:
            print("no such method")
        try:
            Client(address=address, authkey=b"another key").connect()
        except AuthenticationError as error:
            print("refused")
        print(client._number_of_objects() >= 4, "settings" not in client._debug_info())
"""
)

PRINTED = """\
[0, 1, 4, 9, 16]
[('key', 'value'), ('other', (1, 2.5, None, b'bytes'))] 2 True
100000 99999 4950000
17 16 1 2 3
LookupError('no such account')
no such method
refused
True True
"""


@pytest.fixture
def runner(tmp_path):
    """Returns a function that gives the command which runs a text on a library."""

    def runner(text: str, library: str, *arguments: str) -> list:
        path = tmp_path / f"{library}-{len(list(tmp_path.iterdir()))}.py"
        path.write_text(textwrap.dedent(text))
        return script.python(library, path, *arguments)

    return runner


@pytest.mark.slow
@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX"])
@pytest.mark.parametrize(
    ("serving", "asking"),
    [
        ("procession", "procession"),
        ("procession", "multiprocessing"),
        ("multiprocessing", "procession"),
    ],
)
def test_strangers_use_the_objects_of_a_server(
    runner, tmp_path, family, serving, asking
) -> None:
    command = runner(SERVER, serving, family, str(tmp_path / "socket"))
    with script.Script(command) as server:
        address = server.line()
        code, out, err = script.run(runner(CLIENT, asking, address))
        assert (code, out) == (0, PRINTED), err
        # What a client did wrong is no reason to end.
        assert server.process.poll() is None


ARRAYS = (
    ALONE
    + """
    import ast
    import numpy
    from multiprocessing.connection import Client, Listener

    if __name__ == "__main__":
        array = numpy.arange(100_000.0)
        if sys.argv[1] == "listen":
            with Listener(("127.0.0.1", 0), authkey=b"key") as listener:
                print(repr(listener.address), flush=True)
                with listener.accept() as connection:
                    connection.send({"array": array, "bytes": bytearray(300_000)})
                    print((connection.recv() == array * 2).all())
        else:
            with Client(ast.literal_eval(sys.argv[1]), authkey=b"key") as connection:
                message = connection.recv()
                print(len(message["bytes"]))
                connection.send(message["array"] * 2)
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("listening", "calling"),
    [("procession", "multiprocessing"), ("multiprocessing", "procession")],
)
def test_arrays_reach_a_stranger_at_the_other_end(runner, listening, calling) -> None:
    with script.Script(runner(ARRAYS, listening, "listen")) as listener:
        address = listener.line()
        code, out, err = script.run(runner(ARRAYS, calling, address))
        assert (code, out) == (0, "300000\n"), err
        code, out, err = listener.finish()
        assert (code, out) == (0, "True\n"), err
