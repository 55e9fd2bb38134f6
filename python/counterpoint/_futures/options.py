"""Task options: the same pool, seen through a set of options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from counterpoint._core import Future

from .mapping import map_calls

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import Any, ParamSpec, TypeVar

    from .pool import ThreadPoolExecutor

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["TaskOptions", "check_options"]


def check_options(
    limits: Mapping[str, float | None],
    retries: int,
    retry_on: type[BaseException] | tuple[type[BaseException], ...],
) -> None:
    """Raises for an option that no pool accepts. `limits` are seconds, by the option's name."""
    for option, limit in limits.items():
        if limit is not None and not limit > 0:
            raise ValueError(f"{option} must be None or greater than 0, not {limit}")
    if retries < 0:
        raise ValueError(f"retries must not be negative: {retries}")
    classes = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    for one in classes:
        known: object = one
        if not (isinstance(known, type) and issubclass(known, BaseException)):
            raise TypeError(f"retry_on must be an exception class or a tuple of them, not {one!r}")


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
        check_options({"timeout": timeout}, retries, retry_on)
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
        future: Future[T] = executor._counterpoint_pool.submit_with(
            executor,
            fn,
            (*args, *kwargs.values()),
            tuple(kwargs),
            self._priority,
            self._timeout,
            self._retries,
            self._retry_on,
        )
        if self._name is not None:
            future.name = self._name
        return future

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
