"""Task options: the same pool, seen through a set of options."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from counterpoint._core import Future

from .mapping import map_calls

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import Any, ParamSpec, TypeVar

    from .pool import ThreadPoolExecutor

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["TaskOptions", "check_options", "check_pending"]


def check_options(
    limits: Mapping[str, float | None],
    retries: int,
    retry_on: type[BaseException] | tuple[type[BaseException], ...],
    priority: int,
    name: str | None,
) -> None:
    """Raises for an option that no pool accepts. `limits` are seconds, by the option's name."""
    for option, limit in limits.items():
        if limit is not None:
            _check_limit(option, limit)
    _check_integer("retries", retries, 0, 2**32 - 1)
    classes = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    for one in classes:
        known: object = one
        if not (isinstance(known, type) and issubclass(known, BaseException)):
            raise TypeError(f"retry_on must be an exception class or a tuple of them, not {one!r}")
    _check_integer("priority", priority, -(2**63), 2**63 - 1)
    given: object = name
    if given is not None and not isinstance(given, str):
        raise TypeError(f"name must be a string or None, not {name!r}")


def check_pending(max_pending: int | None, on_full: str) -> None:
    """Raises for a bound that no pool accepts."""
    if max_pending is not None:
        _check_integer("max_pending", max_pending, 1, sys.maxsize)
    if on_full not in ("block", "raise"):
        raise ValueError(f"on_full must be 'block' or 'raise', not {on_full!r}")


def _check_limit(option: str, limit: float) -> None:
    try:
        positive = 1.0 * limit > 0
    except TypeError:
        raise TypeError(f"{option} must be a number of seconds or None, not {limit!r}") from None
    except OverflowError:
        raise ValueError(f"{option} is out of range: {limit}") from None
    if not positive:
        raise ValueError(f"{option} must be None or greater than 0, not {limit}")


def _check_integer(option: str, value: int, least: int, most: int) -> None:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{option} must be an integer, not {value!r}") from None
    if number < least:
        raise ValueError(f"{option} must be at least {least}, not {value}")
    if number > most:
        raise ValueError(f"{option} must be at most {most}, not {value}")


class TaskOptions:
    """A pool for tasks with certain options; made by `ThreadPoolExecutor.options`.

    >>> from counterpoint.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor() as pool:
    ...     urgent = pool.options(priority=10, name="urgent")
    ...     urgent.submit(abs, -3).result()
    3
    """

    __slots__ = ("_executor", "_name", "_priority", "_retries", "_retry_on", "_timeout")

    def __init__(
        self,
        executor: ThreadPoolExecutor,
        timeout: float | None,
        retries: int,
        retry_on: type[BaseException] | tuple[type[BaseException], ...],
        priority: int,
        name: str | None,
    ) -> None:
        check_options({"timeout": timeout}, retries, retry_on, priority, name)
        self._executor = executor
        self._timeout = timeout
        self._retries = retries
        self._retry_on = retry_on
        self._priority = priority
        self._name = name

    def __repr__(self) -> str:
        names = ("timeout", "retries", "retry_on", "priority", "name")
        chosen = ", ".join(f"{name}={getattr(self, '_' + name)!r}" for name in names)
        return f"<options({chosen}) of {self._executor!r}>"

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """`ThreadPoolExecutor.submit`, with the options.

        >>> from counterpoint.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor() as pool:
        ...     pool.options(timeout=5.0).submit(int, "7").result()
        7
        """
        executor = self._executor
        return executor._counterpoint_pool.submit_with(
            executor,
            fn,
            (*args, *kwargs.values()),
            tuple(kwargs),
            self._priority,
            self._timeout,
            self._retries,
            self._retry_on,
            self._name,
        )

    async def async_submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """`ThreadPoolExecutor.async_submit`, with the options."""
        return await self._executor._submit_in_room(self.submit, fn, *args, **kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
    ) -> Iterator[T]:
        """`ThreadPoolExecutor.map`, with the options; `timeout` here is for all results."""
        return map_calls(self, fn, iterables, timeout, buffersize, ordered, progress)
