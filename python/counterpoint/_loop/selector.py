"""What stands in for asyncio's selector: a view of the descriptors that the native loop watches."""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .native import Loop

__all__ = ["Selector"]


class Selector(selectors.BaseSelector):
    """Read-only: the loop's own `add_reader` and `add_writer` are the way to change it."""

    def __init__(self, native: Loop) -> None:
        self._native = native

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """The watched descriptors, each with its reader and writer as `data`."""
        return _Map(self._native)

    def get_key(self, fileobj: object) -> selectors.SelectorKey:
        """The key of a watched descriptor; KeyError if it is not."""
        return self.get_map()[fileobj]

    def register(self, *_: object) -> NoReturn:
        """Always an error."""
        raise RuntimeError("use the loop's add_reader() and add_writer()")

    unregister = modify = register  # type: ignore[assignment]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Always an error: the native loop polls."""
        raise RuntimeError("the loop polls natively; run it, or use run_once of your own")

    def close(self) -> None:
        """Close the native loop's descriptors."""
        self._native.close()

    def fileno(self) -> int:
        """The descriptor of the epoll instance."""
        return self._native.fileno()


class _Map(Mapping[object, selectors.SelectorKey]):
    def __init__(self, native: Loop) -> None:
        self._native = native

    def __getitem__(self, fileobj: object) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()  # type: ignore[attr-defined]
        key = _key(fd, *self._native.watchers(fd))
        if not key.events:
            raise KeyError(fileobj)
        return key

    def __iter__(self) -> Iterator[object]:
        return (fd for fd, _ in self._native.watched())

    def __len__(self) -> int:
        return len(self._native.watched())


def _key(fd: int, reader: object, writer: object) -> selectors.SelectorKey:
    events = selectors.EVENT_READ if reader is not None else 0
    events |= selectors.EVENT_WRITE if writer is not None else 0
    return selectors.SelectorKey(fd, fd, events, (reader, writer))
