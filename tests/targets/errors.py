"""What the processes of test_errors.py do."""

import sys
import types


class NotUnpicklable:
    """An object that pickles, but does not unpickle."""

    def __reduce__(self):
        return fail_to_unpickle, ()


def fail_to_unpickle():
    raise ValueError("it does not unpickle")


class FailingToPickle:
    """An object that fails when it is pickled, in words of its own."""

    def __reduce__(self):
        raise ValueError("it does not pickle")


def function_of_module(name: str) -> types.FunctionType:
    """Returns a function of a module that exists in this process only."""
    module = types.ModuleType(name)
    exec("def function(*args): return args", module.__dict__)  # noqa: S102
    sys.modules[name] = module
    return module.function


def join_stranger(process) -> str:
    """Returns the name of the error that joining somebody else's child gets."""
    try:
        process.join()
    except Exception as error:
        return type(error).__name__
    return "no error"


def count_and_call(counter, function) -> None:
    """Counts how often it is called."""
    with counter.get_lock():
        counter.value += 1
    function()
