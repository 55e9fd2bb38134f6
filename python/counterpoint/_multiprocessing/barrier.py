"""`Barrier` between processes."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from typing import Any, Self

from counterpoint._worker import kernel

from .condition import Condition
from .locks import OwnerDied
from .sharing import Shared

__all__ = ["Barrier"]


class Barrier(threading.Barrier):
    """So many processes and threads wait until all of them have arrived, again and again.

    Equals `multiprocessing.Barrier(parties, action, timeout)`. Different: if a process dies in the
    middle of changing it, it is broken, and says so, instead of keeping the others waiting.

    >>> from counterpoint import multiprocessing
    >>> multiprocessing.Barrier(1).wait()
    0
    """

    _numbers: _Numbers

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: object = None,
    ) -> None:
        if parties < 1:
            raise ValueError("parties must be >= 1")
        self.__setstate__((parties, action, timeout, _Whole(), _Numbers()))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._parties, self._action, self._timeout, self._cond, self._numbers = state
        self._cond.broken = self._break  # type: ignore[attr-defined]

    def __getstate__(self) -> tuple[Any, ...]:
        return self._parties, self._action, self._timeout, self._cond, self._numbers

    @property
    def _state(self) -> int:
        return self._numbers[0]

    @_state.setter
    def _state(self, value: int) -> None:
        self._numbers[0] = value

    @property
    def _count(self) -> int:
        return self._numbers[1]

    @_count.setter
    def _count(self, value: int) -> None:
        self._numbers[1] = value

    def __repr__(self) -> str:
        name = f"{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}"
        if self.broken:
            return f"<{name}: broken>"
        return f"<{name}: waiters={self.n_waiting}/{self.parties}>"


_NUMBER = struct.Struct("q")


class _Numbers(Shared):
    """Two numbers in memory without a name: the stdlib's heap has its own in /dev/shm.

    They are read and written, not mapped: so rarely that a descriptor for it is all they need.
    """

    __slots__ = ("_file",)
    _file: int

    def __new__(cls, *, _fd: int | None = None) -> Self:
        self = super().__new__(cls)
        self._file = kernel.memfd_create("counterpoint-barrier") if _fd is None else _fd
        return self

    def _fd(self) -> int:
        return self._file

    def __getitem__(self, at: int) -> int:
        data = os.pread(self._file, _NUMBER.size, at * _NUMBER.size)
        # What was not written is 0.
        return int(_NUMBER.unpack(data)[0]) if data else 0

    def __setitem__(self, at: int, value: int) -> None:
        os.pwrite(self._file, _NUMBER.pack(value), at * _NUMBER.size)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


class _Whole(Condition):
    """A condition that tells when what it guards may be half changed."""

    broken: Callable[[], object]

    def __enter__(self) -> Any:
        acquired = super().__enter__()
        if isinstance(acquired, OwnerDied):
            self.broken()
        return acquired

    def _tell(self, died: OwnerDied) -> None:
        self.broken()
