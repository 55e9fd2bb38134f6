"""`Barrier` between processes."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from multiprocessing import heap
from typing import Any

from .condition import Condition
from .locks import OwnerDied

__all__ = ["Barrier"]


class Barrier(threading.Barrier):
    """So many processes and threads wait until all of them have arrived, again and again.

    Equals `multiprocessing.Barrier(parties, action, timeout)`. Different: if a process dies in the
    middle of changing it, it is broken, and says so, instead of keeping the others waiting.

    >>> from counterpoint import multiprocessing
    >>> multiprocessing.Barrier(1).wait()
    0
    """

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
        memory = heap.BufferWrapper(struct.calcsize("i") * 2)
        self.__setstate__((parties, action, timeout, _Whole(), memory))
        self._state = 0
        self._count = 0

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._parties, self._action, self._timeout, self._cond, self._wrapper = state
        self._array = self._wrapper.create_memoryview().cast("i")
        self._cond.broken = self._break  # type: ignore[attr-defined]

    def __getstate__(self) -> tuple[Any, ...]:
        return self._parties, self._action, self._timeout, self._cond, self._wrapper

    @property
    def _state(self) -> int:
        return int(self._array[0])

    @_state.setter
    def _state(self, value: int) -> None:
        self._array[0] = value

    @property
    def _count(self) -> int:
        return int(self._array[1])

    @_count.setter
    def _count(self, value: int) -> None:
        self._array[1] = value

    def __repr__(self) -> str:
        name = f"{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}"
        if self.broken:
            return f"<{name}: broken>"
        return f"<{name}: waiters={self.n_waiting}/{self.parties}>"


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
