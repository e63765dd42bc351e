"""Denies one system call to this process and all that it starts, as a sandbox does.

By a filter of seccomp, put in place through prctl; once there, it stays.
"""

import ctypes
import errno
import platform
import struct

# The numbers of system calls, by machine: x86-64, aarch64; None where it has no such call.
NUMBERS = {
    "bind": (49, 200),
    "chdir": (80, 49),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "connect": (42, 203),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22),
    "fallocate": (285, 47),
    "ftruncate": (77, 46),
    "getppid": (110, 173),
    "getpriority": (140, 141),
    "getrandom": (318, 278),
    "getsid": (124, 156),
    "ioctl": (16, 29),
    "kill": (62, 129),
    "madvise": (28, 233),
    "memfd_create": (319, 279),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pipe2": (293, 59),
    "ppoll": (271, 73),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "readlink": (89, None),
    "recvfrom": (45, 207),
    "recvmmsg": (299, 243),
    "recvmsg": (47, 212),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "shutdown": (48, 210),
    "sigaltstack": (131, 132),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "statx": (332, 291),
    "sysinfo": (99, 179),
    "timer_create": (222, 107),
    "unshare": (272, 97),
    "vfork": (58, None),
    "wait4": (61, 260),
    "waitid": (247, 95),
}

# How the kernel names these machines to a filter.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL_WITH = 0x7FFF0000, 0x00050000


class Program(ctypes.Structure):
    """A filter as the kernel takes it (`struct sock_fprog`)."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def number(call: str) -> int | None:
    """Returns the number of a system call on this machine."""
    place = list(ARCHITECTURES).index(platform.machine())
    return NUMBERS[call][place]


def deny(call: str, error: int = errno.EPERM) -> None:
    """Lets a system call fail with an error from now on, for good."""
    code = [
        (LOAD_WORD, 0, 0, 4),
        (JUMP_IF_EQUAL, 1, 0, ARCHITECTURES[platform.machine()]),
        (RETURN, 0, 0, ALLOW),
        (LOAD_WORD, 0, 0, 0),
        (JUMP_IF_EQUAL, 0, 1, number(call)),
        (RETURN, 0, 0, FAIL_WITH | error),
        (RETURN, 0, 0, ALLOW),
    ]
    text = b"".join(struct.pack("HBBI", *instruction) for instruction in code)
    memory = ctypes.create_string_buffer(text)
    program = Program(len(code), ctypes.addressof(memory))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if prctl(*arguments):
            raise OSError(ctypes.get_errno(), "no filter of seccomp may be set")
