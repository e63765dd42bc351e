"""Servers of the web that have worker processes, in which the program starts its own."""

import os
import signal
import socket
import textwrap
from importlib.util import find_spec

import pytest
import script

pytestmark = pytest.mark.slow


def needs(package: str):
    reason = f"{package} is not installed: pip install --group clients"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


def get(address: str) -> str:
    """Asks a server for its page, by the path of its socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(script.PATIENCE)
        connection.connect(address)
        connection.sendall(b"GET / HTTP/1.0\r\nHost: here\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    return answer.partition(b"\r\n\r\n")[2].decode()


def serve(program, text: str, app: str, tmp_path, ready: int, *arguments: str) -> list:
    """Runs a server until two clients have had its page; returns what they had."""
    (tmp_path / "app.py").write_text(textwrap.dedent(app))
    command = program.command(text, *arguments)
    # Short, as it is the name of a socket.
    with script.Script(command, cwd=tmp_path) as server:
        told = [server.line() for _ in range(ready)]
        assert told == ["ready"] * ready
        where = os.path.relpath(tmp_path / "socket")
        pages = [get(where) for _ in range(2)]
        server.process.send_signal(signal.SIGTERM)
        code, _out, err = server.finish()
        assert code in (0, -signal.SIGTERM), err
        assert "Traceback" not in err
    return pages


WSGI = """
    import multiprocessing

    LOCK = multiprocessing.Lock()
    COUNT = multiprocessing.Value("i", 0)

    def square(number):
        with LOCK, COUNT:
            COUNT.value += 1
        return number * number

    def app(environ, start_response):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            body = str(pool.map(square, range(4))).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
"""


@needs("gunicorn")
@pytest.mark.methods("fork")
def test_workers_of_gunicorn_that_were_loaded_ahead_have_pools(
    program, tmp_path
) -> None:
    (tmp_path / "conf.py").write_text(
        "import os\ndef post_worker_init(worker):\n    os.write(1, b'ready\\n')\n"
    )
    text = """
        import sys
        from gunicorn.app.wsgiapp import run

        if __name__ == "__main__":
            sys.argv[1:] = ["--preload", "-w", "2", "-c", "conf.py", "-b",
                            "unix:socket", "--log-level", "error", "--chdir", ".",
                            "--no-control-socket", "app:app"]
            run()
    """
    pages = serve(program, text, WSGI, tmp_path, 2)
    assert pages == ["[0, 1, 4, 9]"] * 2


ASGI = """
    import faulthandler
    import multiprocessing
    import os

    faulthandler.enable()

    def square(number):
        return number * number

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                if kind == "lifespan.startup":
                    # At once: an unbuffered `print` writes the end of the line by itself,
                    # and two workers could mix theirs.
                    os.write(1, b"ready\\n")
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            body = str(pool.map(square, range(4))).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": body})
"""


@needs("uvicorn")
@pytest.mark.methods("spawn")
def test_two_workers_of_uvicorn_have_pools(program, tmp_path) -> None:
    # The socket listens before a worker says that it is ready: uvicorn has it listen after.
    text = """
        import faulthandler
        from uvicorn import Config
        from uvicorn.supervisors import Multiprocess

        if __name__ == "__main__":
            faulthandler.enable()
            config = Config("app:app", workers=2, uds="socket", log_level="error")
            socket = config.bind_socket()
            socket.listen()
            Multiprocess(config, sockets=[socket]).run()
    """
    pages = serve(program, text, ASGI, tmp_path, 2)
    assert pages == ["[0, 1, 4, 9]"] * 2
