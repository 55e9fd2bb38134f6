"""The event loop policy, where Python has them still."""

from __future__ import annotations

from asyncio import unix_events
from collections.abc import Iterator, MutableMapping
from typing import Any

from counterpoint import _install

from .loop import EventLoop

__all__ = ["Attributes", "EventLoop", "EventLoopPolicy", "default_policy"]

default_policy: Any = getattr(unix_events, "_UnixDefaultEventLoopPolicy", None) or getattr(
    unix_events, "_DefaultEventLoopPolicy", None
)
"""The class of the policy that asyncio makes for itself."""


class EventLoopPolicy(default_policy or object):  # type: ignore[misc]
    """`asyncio.DefaultEventLoopPolicy` whose loops are ours.

    Python deprecates policies (3.14): `asyncio.Runner(loop_factory=...)` is the other way.

    >>> import asyncio
    >>> loop = EventLoopPolicy().new_event_loop()
    >>> isinstance(loop, asyncio.SelectorEventLoop)
    True
    >>> loop.close()
    """

    _loop_factory = EventLoop


class Attributes(MutableMapping[str, object]):
    """The attributes of a class itself, as a namespace."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> object:
        return vars(self._owner)[name]

    def __setitem__(self, name: str, value: object) -> None:
        setattr(self._owner, name, value)

    def __delitem__(self, name: str) -> None:
        delattr(self._owner, name)

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self._owner))

    def __len__(self) -> int:
        return len(vars(self._owner))


_install.loop_imported()
