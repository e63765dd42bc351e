"""Runs some tests of one module and tells what becomes of them, as it happens.

Usage: worker.py DESCRIPTOR MODULE CLASS.TEST...

Each line that goes to the descriptor is one event in JSON. The program runs in the
interpreter under test and knows nothing but the standard library; whoever started it
watches the time.
"""

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
import unittest
from pathlib import Path

# Characters of a failure that are told; the end says most.
LONGEST = 8000

# Before the name of a module whose tests are to make everything on the contexts of
# procession, which is not installed there.
ON_CONTEXTS = "on-contexts:"

# The signal on which this process and its forked children show their stacks.
SHOW_STACKS = signal.SIGRTMAX


class Voice:
    """Sends events to whoever started this process."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self.descriptor = descriptor
        self.owner = os.getpid()

    def tell(self, event: str, **details) -> None:
        """Sends an event. A forked child that comes here has escaped from its test."""
        if os.getpid() != self.owner:
            event, details = "escaped", {"message": f"a child told {event} {details}"}
        line = json.dumps({"event": event, **details}) + "\n"
        os.write(self.descriptor, line.encode())
        if os.getpid() != self.owner:
            os._exit(1)


class Listener(unittest.TestResult):
    """Tells what becomes of each test."""

    # A test that is several of these is the last of them.
    STATES = ("passed", "skipped", "failed")

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self.voice = voice
        self.current = None

    def startTest(self, test) -> None:
        super().startTest(test)
        self.current, self.state, self.messages = test, "passed", []
        self.began = time.monotonic()
        self.voice.tell("start", test=name_of(test))

    def stopTest(self, test) -> None:
        super().stopTest(test)
        if self.current is None:
            return
        self.current = None
        self.voice.tell(
            "end",
            test=name_of(test),
            state=self.state,
            message="\n".join(self.messages)[-LONGEST:],
            seconds=time.monotonic() - self.began,
        )

    def addFailure(self, test, error) -> None:
        self.note(test, "failed", "".join(traceback.format_exception(*error)))

    addError = addFailure

    def addSubTest(self, test, subtest, error) -> None:
        if error is not None:
            text = "".join(traceback.format_exception(*error))
            self.note(test, "failed", f"{subtest}\n{text}")

    def addSkip(self, test, reason) -> None:
        if hasattr(test, "test_case"):
            return  # A part of a test that as a whole goes on.
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test, error) -> None:
        pass  # As good as passed: the test says so itself.

    def addUnexpectedSuccess(self, test) -> None:
        self.note(test, "failed", "passed, though the test is marked to fail")

    def note(self, test, state: str, message: str) -> None:
        if not hasattr(test, "_testMethodName"):
            # Not a test but what surrounds the tests of a class or a module.
            self.voice.tell(
                "around", what=str(test), state=state, message=message[-LONGEST:]
            )
            return
        if self.current is None:
            self.startTest(test)  # CPython 3.12 skips tests that it has not started.
        self.state = max(self.state, state, key=self.STATES.index)
        self.messages.append(message)


def name_of(test) -> str:
    return f"{type(test).__name__}.{test._testMethodName}"


def subject() -> dict:
    """Tells which library this process tests."""
    module = sys.modules["multiprocessing"]
    folder = str(Path(unittest.__file__).parents[1] / "multiprocessing")
    files = (getattr(each, "__file__", None) for each in list(sys.modules.values()))
    return {
        "library": module.__name__,
        "file": module.__file__,
        "foreign": sorted({each for each in files if each and folder in each}),
        "on_contexts": module.__name__ != "procession" and "procession" in sys.modules,
    }


def main(descriptor: str, module_name: str, *names: str) -> None:
    voice = Voice(int(descriptor))
    faulthandler.enable()
    faulthandler.register(SHOW_STACKS, all_threads=True)
    # What a shell starts in the background ignores these, and would hand that down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        module = import_tests(module_name)
        tests = [load(module, name) for name in names]
    except BaseException:
        voice.tell("broken", message=traceback.format_exc()[-LONGEST:])
        return
    listener = Listener(voice)
    unittest.TestSuite(tests).run(listener)
    if listener.current is not None:
        return  # A forked child, or a test that did not end.
    from test import support

    voice.tell("done", altered=support.environment_altered, **subject())
    sys.stdout.flush()
    sys.stderr.flush()


def import_tests(name: str):
    """Imports a module of tests, and gives it the contexts that it is to use."""
    if not name.startswith(ON_CONTEXTS):
        return importlib.import_module(name)
    name = name.removeprefix(ON_CONTEXTS)
    module = importlib.import_module(name)
    # After the standard library's, whose key it then shares: as in most programs.
    import procession

    for each in (module, sys.modules.get(f"{name.rpartition('.')[0]}.util")):
        for alias in ("multiprocessing", "mp"):
            if hasattr(each, alias):
                setattr(each, alias, procession)
    return module


def load(module, name: str) -> unittest.TestCase:
    class_name, _, test = name.partition(".")
    return getattr(module, class_name)(test)


if __name__ == "__main__":
    main(*sys.argv[1:])
