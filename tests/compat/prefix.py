"""An interpreter in which `multiprocessing` is procession, and nothing else can be.

A copy of the running interpreter stands beside links to its standard library, in which
three lines that call `procession.install()` have the place of the one package. Whatever
is started with that interpreter finds no other `multiprocessing`: not a child of any
start method, not a script that a test starts with `-I`, `-E` or `-S`. (Whatever hangs on
an environment variable or on `site` would be switched off by those, and the tests that
use them would quietly test the standard library.)
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

REPLACEMENT = """\
import sys
if {root!r} not in sys.path:
    sys.path.append({root!r})
import procession
procession.install()
"""


def standard_library() -> Path:
    """Returns the folder of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib")).resolve()


def plain_interpreter() -> Path:
    """Returns the running interpreter as it is without a virtual environment."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))


def make_interpreter(folder: Path, root: Path) -> Path:
    """Makes the interpreter in a folder, and returns the path of its executable.

    Args:
        folder: Where to make it.
        root: The folder in which the package procession lies.
    """
    library = standard_library()
    base = Path(sys.base_prefix).resolve()
    mirror = folder / library.relative_to(base)
    mirror.mkdir(parents=True)
    # Those beside the standard library: shared libraries, for one.
    _link_all(library.parent, mirror.parent)
    if (base / "include").is_dir():
        (folder / "include").symlink_to(base / "include")
    _link_all(library, mirror, leave_out={"multiprocessing", "site-packages"})
    (mirror / "site-packages").mkdir()
    (mirror / "multiprocessing").mkdir()
    (mirror / "multiprocessing/__init__.py").write_text(
        REPLACEMENT.format(root=str(root))
    )
    # A copy, not a link: the interpreter looks for its library where its file lies.
    executable = folder / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    executable.parent.mkdir()
    shutil.copy2(plain_interpreter(), executable)
    return executable


def _link_all(source: Path, target: Path, leave_out: set[str] = frozenset()) -> None:
    for entry in source.iterdir():
        link = target / entry.name
        if entry.name not in leave_out and not os.path.lexists(link):
            link.symlink_to(entry)
