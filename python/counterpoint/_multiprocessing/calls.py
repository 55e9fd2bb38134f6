"""What a pool's workers call: a function for each item of a chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

__all__ = ["call", "chunks", "map_chunk", "starmap_chunk"]

T = TypeVar("T")


def call(function: Callable[..., T], arguments: Iterable[Any], keywords: dict[str, Any]) -> T:
    """One call."""
    return function(*arguments, **keywords)


def map_chunk(function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """A call for each item."""
    return [function(item) for item in items]


def starmap_chunk(function: Callable[..., T], items: Iterable[Iterable[Any]]) -> list[T]:
    """A call for each item, whose parts are the arguments."""
    return [function(*item) for item in items]


def chunks(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """The items, so many together. What the input raises comes after the whole chunks before."""
    iterator = iter(items)
    while chunk := tuple(islice(iterator, size)):
        yield chunk
