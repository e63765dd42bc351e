"""The proof that it is procession which is tested, in the parent and in its children.

A suite that quietly ran against the standard library would pass. So before any test the
interpreter under test is asked what `multiprocessing` is, under each set of flags that
the tests use, and so is a child of each start method. Every process that runs tests
tells it again at its end (`subject` in inside/worker.py).
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

FLAGS = ([], ["-I"], ["-E"], ["-E", "-S"], ["-I", "-S"])

MODULES = [
    "connection",
    "context",
    "dummy",
    "dummy.connection",
    "forkserver",
    "heap",
    "managers",
    "pool",
    "popen_fork",
    "popen_forkserver",
    "popen_spawn_posix",
    "process",
    "queues",
    "reduction",
    "resource_sharer",
    "resource_tracker",
    "shared_memory",
    "sharedctypes",
    "spawn",
    "synchronize",
    "util",
]

# Prints the name and file of the package and of each of its modules.
ASK = """
import importlib, json, multiprocessing
names = ["multiprocessing", *("multiprocessing." + each for each in {modules!r})]
found = [importlib.import_module(each) for each in names]
print(json.dumps({{each: (m.__name__, m.__file__) for each, m in zip(names, found)}}))
"""

# Prints what a child finds.
ASK_CHILD = """
import sys
def tell(connection):
    import multiprocessing.connection
    connection.send((multiprocessing.__name__, multiprocessing.__file__, sys.executable))
if __name__ == "__main__":
    import json, multiprocessing
    context = multiprocessing.get_context({method!r})
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=tell, args=(sender,))
    child.start()
    sender.close()
    print(json.dumps(receiver.recv()))
    child.join()
"""


class NotProven(Exception):
    """Something else than procession would be tested."""


def prove(python: Path, root: Path, methods: list[str], folder: Path) -> Iterator[str]:
    """Yields what was found, line by line.

    Args:
        python: The interpreter under test.
        root: The folder in which the package procession lies.
        methods: The start methods whose children are asked.
        folder: Where a program may be written.

    Raises:
        NotProven: An answer is not procession.
    """
    package = root / "procession"
    for flags in FLAGS:
        found = _answer([python, *flags, "-c", ASK.format(modules=MODULES)])
        for name, (real, file) in found.items():
            expected = "procession" + name.removeprefix("multiprocessing")
            if real != expected or not Path(file).is_relative_to(package):
                raise NotProven(f"python {flags}: {name} is {real} from {file}")
        words = " ".join(["python", *flags])
        yield f"{words}: multiprocessing and its {len(MODULES)} modules are procession's"
    for method in methods:
        program = folder / f"ask_{method}.py"
        program.write_text(ASK_CHILD.format(method=method))
        name, file, executable = _answer([python, program])
        if name != "procession" or file != str(package / "__init__.py"):
            raise NotProven(f"in a child by {method}, multiprocessing is {file}")
        if executable != str(python):
            raise NotProven(f"a child by {method} would start {executable}")
        yield f"a child by {method}: multiprocessing is {file}"


def _answer(command: list):
    done = subprocess.run(
        [str(word) for word in command],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode or done.stderr:
        raise NotProven(f"{command} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)
