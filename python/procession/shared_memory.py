"""Shared memory with a name, and a list of fixed length in it.

As in `multiprocessing.shared_memory`, with the same layout, so that the other process
may use the standard library's. It is the one thing of this package that lives in
/dev/shm, because its contract is a name that strangers can use. Differences: nobody
but `unlink` removes a name, so that what another process still uses does not vanish
(`track` makes no difference); too little room in /dev/shm is an error when the memory
is made, not a SIGBUS when it is written; strings in a `ShareableList` keep the NULs
at their end.
"""

from __future__ import annotations

import _posixshmem  # type: ignore[import-not-found]
import errno
import mmap
import os
import secrets
import struct
import sys
from collections.abc import Iterator
from functools import partial
from types import GenericAlias
from typing import Any, ClassVar

from ._attributes import public, public_names
from ._descriptors import file_of

__all__ = ["ShareableList", "SharedMemory"]

# Names that clients look for; tests of theirs replace `_make_filename`.
_SHM_NAME_PREFIX = "/psm_"
_USE_POSIX = True


class SharedMemory:
    """A block of memory with a name.

    Args:
        name: Its name; if it is made and has none, one is made up.
        create: Whether to make it, rather than to use one that exists.
        size: How many bytes are made.
        track: Makes no difference, see the head of the module.

    Raises:
        ValueError: The size is not positive, or there is no name to look for.
        FileExistsError: The name is taken.
        FileNotFoundError: Nothing has the name.
        OSError: There is not that much room in /dev/shm.

    Example:
        >>> from procession.shared_memory import SharedMemory
        >>> memory = SharedMemory(create=True, size=8)
        >>> other = SharedMemory(memory.name)  # As another process does.
        >>> other.buf[:2] = b"ok"
        >>> bytes(memory.buf[:2]), memory.size >= 8
        (b'ok', True)
        >>> other.close()
        >>> memory.close()
        >>> memory.unlink()
    """

    __dir__ = public_names

    _name: str
    _fd = -1
    _file: tuple[int, int] | None = None
    _mmap: mmap.mmap | None = None
    _buf: memoryview | None = None
    # A subclass may add `os.O_CREAT`, to make what is not there.
    _flags = os.O_RDWR
    _mode = 0o600
    _prepend_leading_slash = True
    # Bound here: the module's globals may be gone when the last object is.
    _close_descriptor = staticmethod(os.close)
    _file_of = staticmethod(file_of)
    # Before it is set; a subclass's `__init__` may not set it.
    _track = False

    def __init__(
        self,
        name: str | None = None,
        create: bool = False,
        size: int = 0,
        *,
        track: bool = True,
    ) -> None:
        if size < 0:
            raise ValueError("'size' must be a positive integer")
        if create and size == 0:
            raise ValueError("'size' must be a positive number different from zero")
        if name is None and not create:
            raise ValueError("'name' can only be None if create=True")
        if create:
            self._flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        self._open(name)
        self._file = self._file_of(self._fd)
        try:
            if create:
                _require_room(self._fd, size)
                os.ftruncate(self._fd, size)
            self._size = os.fstat(self._fd).st_size
            self._mmap = _mapped(self._fd, self._size)
        except (OSError, ValueError, OverflowError):
            if create:
                self.unlink()
            self.close()
            raise
        self._buf = memoryview(self._mmap)
        self._track = track
        if track:
            self._tell_tracker("register")

    def _open(self, name: str | None) -> None:
        if name is not None:
            self._name = f"/{name}" if self._prepend_leading_slash else name
            self._fd = _posixshmem.shm_open(self._name, self._flags, mode=self._mode)
            return
        while self._fd < 0:
            self._name = _make_filename()
            try:
                self._fd = _posixshmem.shm_open(
                    self._name, self._flags, mode=self._mode
                )
            except FileExistsError:
                continue

    def __del__(self) -> None:
        try:
            self.close()
        except OSError:
            pass

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, False, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, size={self.size})"

    @property
    def buf(self) -> memoryview | None:
        """A view of the memory; None once it is closed."""
        return self._buf

    @property
    def name(self) -> str:
        """The name."""
        return self._name.removeprefix("/" if self._prepend_leading_slash else "")

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._size

    def close(self) -> None:
        """Ends the use of the memory by this object; the memory stays.

        Raises:
            BufferError: Somebody still has a view of it.
        """
        if self._buf is not None:
            self._buf.release()
            self._buf = None
        if self._mmap is not None:
            self._mmap.close()
            self._mmap = None
        if self._fd >= 0:
            # The program may have closed it, and have its number for another.
            if self._file_of(self._fd) == self._file:
                self._close_descriptor(self._fd)
            self._fd = -1

    def unlink(self) -> None:
        """Takes the name away; the memory goes when nobody uses it any more.

        Raises:
            FileNotFoundError: It has no name any more.
        """
        _posixshmem.shm_unlink(self._name)
        if self._track:
            self._tell_tracker("unregister")

    def _tell_tracker(self, function: str) -> None:
        """Tells the resource tracker, if the program has put its own in the place of ours."""
        tracker = sys.modules.get(f"{__package__}.resource_tracker")
        if tracker is not None:
            getattr(tracker, function)(self._name, "shared_memory")


def _make_filename() -> str:
    return _SHM_NAME_PREFIX + secrets.token_hex(4)


def _mapped(fd: int, size: int) -> mmap.mmap:
    """Maps a file, without a second descriptor of it where Python can (3.13)."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, trackfd=False)
    return mmap.mmap(fd, size)


def _require_room(fd: int, size: int) -> None:
    """Refuses a size that could never be written: the writer would be killed."""
    room = os.fstatvfs(fd)
    # A file system without a limit tells of no blocks at all.
    if room.f_blocks and size > room.f_bavail * room.f_frsize:
        free = room.f_bavail * room.f_frsize
        raise OSError(
            errno.ENOSPC,
            f"/dev/shm has {free} bytes left, fewer than the {size} asked for:"
            " unlink what is not needed, or mount it larger",
        )


class ShareableList:
    """A list of numbers, strings, bytes and None in shared memory.

    Its length is fixed, and so is the room that each string has.

    Args:
        sequence: The items; without them an existing list is used.
        name: The name of the shared memory.

    Example:
        >>> from procession.shared_memory import ShareableList
        >>> items = ShareableList(["red", 7, None, 7])
        >>> items[0] = "tan"
        >>> list(items), items.count(7), items.index(None)
        (['tan', 7, None, 7], 2, 2)
        >>> items.format
        '8sqxxxxxx?xq'
        >>> items.shm.close()
        >>> items.shm.unlink()
    """

    __dir__ = public_names

    # The layout of the memory: the number of items and the offset of each, and of their
    # end, as 64-bit integers; the items; a format of `struct` for each, in 8 bytes; a
    # byte for each that tells what to make of it.
    _types_mapping: ClassVar[dict[type, str]] = {
        int: "q",
        float: "d",
        bool: "xxxxxxx?",
        str: "%ds",
        bytes: "%ds",
        type(None): "xxxxxx?x",
    }
    _alignment = 8

    def __init__(self, sequence: Any = None, *, name: str | None = None) -> None:
        if sequence is None and name is not None:
            self.shm = SharedMemory(name)
            self._list_len = len(self)
            offsets = struct.unpack_from(self._format_size_metainfo, self._memory, 8)
            self._allocated_offsets = list(offsets)
            return
        items = list(sequence or ())
        formats = [self._format_of(item) for item in items]
        self._list_len = len(items)
        self._allocated_offsets = [0]
        for each in formats:
            end = self._allocated_offsets[-1] + struct.calcsize(f"={each}")
            self._allocated_offsets.append(end)
        size = self._offset_back_transform_codes + len(items)
        self.shm = SharedMemory(name, create=True, size=size)
        struct.pack_into(
            f"q{self._format_size_metainfo}",
            self._memory,
            0,
            self._list_len,
            *self._allocated_offsets,
        )
        for position, (item, each) in enumerate(zip(items, formats, strict=True)):
            self._store(position, each, item)

    @property
    def _memory(self) -> memoryview:
        memory = self.shm.buf
        if memory is None:
            raise ValueError("the shared memory of the list is closed")
        return memory

    def _format_of(self, item: Any) -> str:
        """Returns the format of a new item; strings get some room to grow."""
        template = self._types_mapping[type(item)]
        if not isinstance(item, (str, bytes)):
            return template
        step = self._alignment
        # The standard library counts characters here, and cuts off what does not fit.
        room = max(len(item) + 1, len(_encoded(item)))
        return template % ((room + step - 1) // step * step)

    def _store(self, position: int, form: str, item: Any) -> None:
        start = self._offset_data_start + self._allocated_offsets[position]
        code = 3 if item is None else 0
        if isinstance(item, (str, bytes)):
            data = _encoded(item)
            code, item = _with_padding(isinstance(item, str), data, int(form[:-1]))
        struct.pack_into(form, self._memory, start, item)
        struct.pack_into(
            "8s",
            self._memory,
            self._offset_packing_formats + position * 8,
            form.encode(),
        )
        struct.pack_into(
            "b", self._memory, self._offset_back_transform_codes + position, code
        )

    def _place(self, position: int) -> int:
        place = position if position >= 0 else position + self._list_len
        if not 0 <= place < self._list_len:
            raise IndexError("index out of range")
        return place

    def _get_packing_format(self, position: int) -> str:
        place = self._offset_packing_formats + self._place(position) * 8
        (form,) = struct.unpack_from("8s", self._memory, place)
        text: str = form.rstrip(b"\0").decode()
        return text

    def __getitem__(self, position: int) -> Any:
        place = self._place(position)
        start = self._offset_data_start + self._allocated_offsets[place]
        form = self._get_packing_format(place)
        (item,) = struct.unpack_from(form, self._memory, start)
        (code,) = struct.unpack_from(
            "b", self._memory, self._offset_back_transform_codes + place
        )
        return _restored(code, item)

    def __setitem__(self, position: int, value: Any) -> None:
        try:
            place = self._place(position)
        except IndexError:
            raise IndexError("assignment index out of range") from None
        form = self._types_mapping[type(value)]
        if isinstance(value, (str, bytes)):
            start, end = self._allocated_offsets[place : place + 2]
            if len(_encoded(value)) > end - start:
                raise ValueError("bytes/str item exceeds available storage")
            form %= end - start
        self._store(place, form, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), name=self.shm.name), ()

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(self._list_len))

    def __len__(self) -> int:
        length: int = struct.unpack_from("q", self._memory, 0)[0]
        return length

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)}, name={self.shm.name!r})"

    @property
    def format(self) -> str:
        """The formats of all items, one after the other."""
        return "".join(map(self._get_packing_format, range(self._list_len)))

    @property
    def _format_size_metainfo(self) -> str:
        return "q" * (self._list_len + 1)

    @property
    def _offset_data_start(self) -> int:
        return (self._list_len + 2) * 8

    @property
    def _offset_packing_formats(self) -> int:
        end: int = self._allocated_offsets[-1]
        return self._offset_data_start + end

    @property
    def _offset_back_transform_codes(self) -> int:
        return self._offset_packing_formats + self._list_len * 8

    def count(self, value: Any) -> int:
        """Returns how many items are equal to a value."""
        return sum(1 for item in self if value == item)

    def index(self, value: Any) -> int:
        """Returns the place of the first item that is equal to a value.

        Raises:
            ValueError: There is none.
        """
        for position, item in enumerate(self):
            if value == item:
                return position
        raise ValueError("ShareableList.index(x): x not in list")

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)


# How the bytes of an item are to be read. 0, 1, 2 and 3 are the standard library's: as
# it is, a string or bytes without the NULs at the end, None. Strings and bytes that end
# with a NUL have ours: one of these, plus the number of bytes that are not used if that
# is at most 8; plus 9 if the number is in the last 8 of those bytes.
_STR_THAT_ENDS_WITH_NUL = 32
_BYTES_THAT_END_WITH_NUL = 64
_NUMBER = struct.Struct("q")


def _encoded(item: str | bytes) -> bytes:
    return item.encode() if isinstance(item, str) else item


def _with_padding(is_text: bool, data: bytes, room: int) -> tuple[int, bytes]:
    """Returns the code for a string and the bytes that stand for it."""
    if not data.endswith(b"\0"):
        return (1 if is_text else 2), data
    code = _STR_THAT_ENDS_WITH_NUL if is_text else _BYTES_THAT_END_WITH_NUL
    unused = room - len(data)
    if unused <= _NUMBER.size:
        return code + unused, data
    padded = data.ljust(room - _NUMBER.size, b"\0")
    return code + _NUMBER.size + 1, padded + _NUMBER.pack(unused)


def _restored(code: int, item: Any) -> Any:
    if code == 0:
        return item
    if code == 3:
        return None
    if code in (1, 2):
        data = item.rstrip(b"\0")
        return data.decode() if code == 1 else data
    is_text = code < _BYTES_THAT_END_WITH_NUL
    unused = code - (_STR_THAT_ENDS_WITH_NUL if is_text else _BYTES_THAT_END_WITH_NUL)
    if unused > _NUMBER.size:
        (unused,) = _NUMBER.unpack_from(item, len(item) - _NUMBER.size)
    data = item[: len(item) - unused]
    return data.decode() if is_text else data


def __dir__() -> list[str]:
    return public(globals())
