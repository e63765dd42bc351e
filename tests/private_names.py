"""A /dev/shm of one's own, so that what killed programs leave there ends with who ran them."""

import ctypes
import os
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18


def get_private_names() -> None:
    """Gives this process, which has one thread, and those below it a /dev/shm of their own.

    Raises OSError where the system does not let it.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        # Who may not make mounts may where they are seen by none but users that it names.
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "no namespace of mounts is allowed")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    # Without the first, the second would be everybody's.
    for what, where, kind, flags in [
        (b"none", b"/", None, MS_REC | MS_PRIVATE),
        (b"none", b"/dev/shm", b"tmpfs", 0),
    ]:
        if libc.mount(what, where, kind, flags, None) != 0:
            raise OSError(ctypes.get_errno(), f"{where.decode()} cannot be mounted")


def try_to_get_private_names() -> None:
    """Does so, or says that what is left in /dev/shm is left on the machine."""
    try:
        get_private_names()
    except OSError as error:
        print(f"what is left in /dev/shm stays on the machine: {error}", flush=True)
