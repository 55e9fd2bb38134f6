"""Task options of a process pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, TypeVar

from counterpoint._core import ProcessFuture
from counterpoint._futures.options import check_options

if TYPE_CHECKING:
    from .executor import ProcessPoolExecutor

__all__ = ["ProcessOptions"]

P = ParamSpec("P")
T = TypeVar("T")


class _Chosen(NamedTuple):
    timeout: float | None
    soft_timeout: float | None
    retries: int
    retry_on: type[BaseException] | tuple[type[BaseException], ...]
    priority: int
    name: str | None


class ProcessOptions:
    """A pool for tasks with certain options; made by `ProcessPoolExecutor.options`."""

    __slots__ = ("_chosen", "_executor")

    def __init__(
        self,
        executor: ProcessPoolExecutor,
        timeout: float | None,
        soft_timeout: float | None,
        retries: int,
        retry_on: type[BaseException] | tuple[type[BaseException], ...],
        priority: int,
        name: str | None,
    ) -> None:
        limits = {"timeout": timeout, "soft_timeout": soft_timeout}
        check_options(limits, retries, retry_on, priority, name)
        self._executor = executor
        self._chosen = _Chosen(timeout, soft_timeout, retries, retry_on, priority, name)

    def __repr__(self) -> str:
        chosen = ", ".join(f"{key}={value!r}" for key, value in self._chosen._asdict().items())
        return f"<options({chosen}) of {self._executor!r}>"

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ProcessFuture[T]:
        """`ProcessPoolExecutor.submit`, with the options."""
        chosen, executor = self._chosen, self._executor
        future: ProcessFuture[T] = executor._counterpoint_pool.submit_with(
            executor,
            fn,
            (*args, *kwargs.values()),
            tuple(kwargs),
            chosen.priority,
            chosen.timeout,
            chosen.soft_timeout,
            chosen.retries,
            chosen.retry_on,
            chosen.name,
        )
        if chosen.name is not None:
            future.name = chosen.name
        return future

    async def async_submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> ProcessFuture[T]:
        """`ProcessPoolExecutor.async_submit`, with the options."""
        return await self._executor._submit_in_room(self.submit, fn, *args, **kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | Literal["auto"] = 1,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
    ) -> Iterator[T]:
        """`ProcessPoolExecutor.map`, with the options, which are for each chunk."""
        from .mapping import map_chunks

        return map_chunks(self, fn, iterables, timeout, chunksize, buffersize, ordered, progress)


# Where users find it.
ProcessOptions.__module__ = "counterpoint.futures"
