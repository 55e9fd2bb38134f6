"""`share`: an object that is placed in shared memory once and named by any number of tasks.

In the user's process a `Shared` holds a *parcel*, a sealed memory of its own. A call that is
encoded while it is an argument, or inside of one, names the parcel by its number; the pool sees to
it that the worker has a descriptor of it before. The worker unpickles it when a task first needs
it, and keeps the object until the pool says that no task will name it again.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Generic, TypeVar

from counterpoint._core import Block, Parcel, Server, _open_parcel

from .pickling import dumps, loads

__all__ = ["Shared", "arrival_of", "receive_from", "share", "unshare"]

T = TypeVar("T")


class Shared(Generic[T]):
    """An object in shared memory; made by `share`.

    As an argument of a task, or anywhere inside of one, it arrives as the object itself. Where it
    is pickled for anything else (a file, a `multiprocessing.Process`), it arrives as another
    `Shared`, with a copy.

    The memory is free when this object is gone, or closed, and the last task that was submitted
    with it has ended. It has no name: nothing of it is left, whoever is killed.
    """

    __slots__ = ("__weakref__", "_parcel", "_unpacked")

    def __init__(self, parcel: Parcel) -> None:
        self._parcel: Parcel | None = parcel
        # The object, once it was needed: of several threads one puts it there. Another dict once
        # it is closed, so that nothing is kept of what was closed meanwhile.
        self._unpacked: dict[str, T] = {}

    def __repr__(self) -> str:
        state = "closed" if self._parcel is None else f"{self._parcel.nbytes} bytes"
        return f"<{type(self).__name__} object: {state}>"

    @property
    def nbytes(self) -> int:
        """How much memory it takes, in bytes, however many tasks use it.

        >>> share(b"x" * 1000).nbytes > 1000
        True
        """
        return self._open().nbytes

    def get(self) -> T:
        """The object as a task sees it: unpickled from the shared memory, once.

        Raises:
            ValueError: It is closed.

        >>> share([1, 2]).get()
        [1, 2]
        """
        unpacked = self._unpacked
        if not unpacked:
            unpacked.setdefault("object", _unpack(*self._open().open()))
        return unpacked["object"]

    def close(self) -> None:
        """Lets go of the memory; tasks that were submitted with it still get the object.

        >>> with share([1, 2]) as numbers:
        ...     numbers.close()
        """
        self._parcel = None
        self._unpacked = {}

    def __enter__(self) -> Shared[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        parcel = self._open()
        # True while a pool encodes a call in this thread.
        if parcel.name():
            return _arrive, (parcel.id,)
        return share, (self.get(),)

    def _open(self) -> Parcel:
        if self._parcel is None:
            raise ValueError("this shared object is closed")
        return self._parcel


def share(obj: T) -> Shared[T]:
    """Places an object in shared memory, once, for any number of tasks of any process pool.

    No stdlib call equals it. The object is pickled now; a later change of it is not seen by tasks.
    Each worker unpickles it when a task first needs it and gives the same object to all later
    tasks. Its large buffers (NumPy arrays, bytearrays: pickle protocol 5) are not copied but
    mapped: the pages are the same in all processes until one writes to them, which then gets a
    copy of the page. What a task changes, later tasks of that worker see, and nobody else.

    Args:
        obj: Anything that can be pickled.

    Returns:
        A handle. Pass it to tasks in place of the object.

    Raises:
        OSError: Memory or descriptors are short.
        Exception: What pickling the object raises.

    In a forked child an inherited handle works as in its parent.

    >>> table = share(list(range(1000)))
    >>> from counterpoint.futures import ProcessPoolExecutor
    >>> with ProcessPoolExecutor(2) as pool:
    ...     list(pool.map(max, [table, table]))
    [999, 999]
    """
    if isinstance(obj, Shared):
        return obj
    arrived = arrival_of(obj)
    if arrived is not None:
        return Shared(Parcel.adopt(arrived.fd))
    stream, buffers = dumps(obj)
    return Shared(Parcel([stream, *buffers]))


def unshare(value: Any) -> Any:
    """The object of a handle; anything else as it is."""
    return value.get() if isinstance(value, Shared) else value


def _unpack(block: Block, pieces: list[tuple[int, int]]) -> Any:
    view = memoryview(block)
    stream, *buffers = (view[at : at + length] for at, length in pieces)
    # Read where it lies, which pickle can.
    return loads(stream, buffers)  # type: ignore[arg-type]


# In a worker: what its parent has handed to it.


class _Arrival:
    """A parcel that arrived, and the object once it was needed."""

    __slots__ = ("fd", "value")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.value: tuple[Any] | None = None

    def get(self) -> Any:
        if self.value is None:
            if self.fd < 0:
                raise OSError(
                    errno.EMFILE,
                    "a shared object did not arrive, as this worker has too many open files",
                )
            self.value = (_unpack(*_open_parcel(self.fd)),)
        return self.value[0]

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


# Where users find them.
Shared.__module__ = share.__module__ = "counterpoint.futures"

_server: Server | None = None
_arrivals: dict[int, _Arrival] = {}


def receive_from(server: Server) -> None:
    """In a worker: whom to ask for parcels."""
    global _server
    _server = server


def arrival_of(obj: object) -> _Arrival | None:
    """What arrived as this very object, in a worker that hands it on."""
    for arrival in list(_arrivals.values()):
        if arrival.value is not None and arrival.value[0] is obj and arrival.fd >= 0:
            return arrival
    return None


def _arrive(number: int) -> Any:
    """The object of a parcel, while a task's call is decoded."""
    if number not in _arrivals:
        _collect()
    return _arrivals[number].get()


def _collect() -> None:
    while _server is not None:
        taken = _server.take_parcel()
        if taken is None:
            return
        number, fd = taken
        _arrivals[number] = _Arrival(fd)


def _forget(numbers: list[int]) -> None:
    """Lets go of parcels, for the worker's loop: also of such as no task has asked for."""
    _collect()
    for number in numbers:
        _arrivals.pop(number, None)
