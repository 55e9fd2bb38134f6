"""Process pools under one face, each opened as its own documentation does.

Only ``host.py`` opens them, in a process for each library: what one of them forks does not hold
what another one has open, and one that hangs costs its own column.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import multiprocessing
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Function = Callable[[Any], Any]


class PoolFace(NamedTuple):
    """What the benchmarks do with a pool of processes.

    each: a task for each item; the results in order. call: one task, there and back.
    map: the same as each, in chunks of a size, or in those that the library chooses itself.
    submit: something with ``result()``, or None where the library has no such thing.
    """

    each: Callable[[Function, Iterable[Any]], list[Any]]
    call: Callable[[Function, Any], Any]
    map: Callable[[Function, Sequence[Any], int | None], Iterable[Any]]
    close: Callable[[], object]
    submit: Callable[[Function, Any], Any] | None = None


def executor_face(pool: Any, close: Callable[[], object] | None = None) -> PoolFace:
    """Of anything with the interface of ``concurrent.futures``."""
    submit = pool.submit

    def each(function: Function, items: Iterable[Any]) -> list[Any]:
        futures = [submit(function, item) for item in items]
        return [future.result() for future in futures]

    def call(function: Function, item: Any) -> Any:
        return submit(function, item).result()

    def map_all(function: Function, items: Sequence[Any], chunk: int | None) -> Iterable[Any]:
        return pool.map(function, items, **({} if chunk is None else {"chunksize": chunk}))

    return PoolFace(each, call, map_all, close or pool.shutdown, submit)


def counterpoint(workers: int, fresh: bool) -> PoolFace:
    from counterpoint.futures import ProcessPoolExecutor

    return executor_face(ProcessPoolExecutor(workers))


def stdlib(workers: int, fresh: bool) -> PoolFace:
    from concurrent.futures import ProcessPoolExecutor

    # To start one is compared with a fork on every version, the default until Python 3.13.
    context = multiprocessing.get_context("fork") if fresh else None
    return executor_face(ProcessPoolExecutor(workers, mp_context=context))


def multiprocessing_pool(workers: int, fresh: bool) -> PoolFace:
    pool = multiprocessing.Pool(workers)
    apply = pool.apply_async

    def each(function: Function, items: Iterable[Any]) -> list[Any]:
        results = [apply(function, (item,)) for item in items]
        return [result.get() for result in results]

    def call(function: Function, item: Any) -> Any:
        return apply(function, (item,)).get()

    def close() -> None:
        pool.close()
        pool.join()

    def submit(function: Function, item: Any) -> Any:
        result = apply(function, (item,))
        result.result = result.get  # type: ignore[attr-defined]
        return result

    return PoolFace(each, call, pool.map, close, submit)


def loky(workers: int, fresh: bool) -> PoolFace:
    pool = importlib.import_module("loky").ProcessPoolExecutor(workers)
    return executor_face(pool)


def joblib(workers: int, fresh: bool) -> PoolFace:
    """``Parallel`` has no submit: a batch of tasks is one call of it."""
    module = importlib.import_module("joblib")
    if workers == 1:
        raise ValueError("joblib runs the tasks of one worker in the calling process")
    delayed = module.delayed
    # Kept open, so that its workers are too.
    context = module.Parallel(n_jobs=workers, batch_size=1)
    parallel = context.__enter__()

    def each(function: Function, items: Iterable[Any]) -> list[Any]:
        parallel.batch_size = 1
        done: list[Any] = parallel(delayed(function)(item) for item in items)
        return done

    def call(function: Function, item: Any) -> Any:
        return each(function, (item,))[0]

    def map_all(function: Function, items: Sequence[Any], chunk: int | None) -> Iterable[Any]:
        parallel.batch_size = "auto" if chunk is None else chunk
        done: list[Any] = parallel(delayed(function)(item) for item in items)
        return done

    def close() -> None:
        context.__exit__(None, None, None)
        importlib.import_module("joblib.externals.loky").get_reusable_executor().shutdown()

    return PoolFace(each, call, map_all, close)


def mpire(workers: int, fresh: bool) -> PoolFace:
    """A pool whose workers stay takes either single tasks or maps: it is opened once for each."""
    pools: dict[str, Any] = {}

    def pool_for(use: str) -> Any:
        if use not in pools:
            pools[use] = importlib.import_module("mpire").WorkerPool(workers, keep_alive=True)
        return pools[use]

    def each(function: Function, items: Iterable[Any]) -> list[Any]:
        apply = pool_for("apply").apply_async
        results = [apply(function, (item,)) for item in items]
        return [result.get() for result in results]

    def call(function: Function, item: Any) -> Any:
        return pool_for("apply").apply_async(function, (item,)).get()

    def map_all(function: Function, items: Sequence[Any], chunk: int | None) -> Iterable[Any]:
        done: Iterable[Any] = pool_for("map").map(function, items, chunk_size=chunk)
        return done

    def close() -> None:
        for pool in pools.values():
            pool.stop_and_join()
            pool.terminate()

    return PoolFace(each, call, map_all, close)


def pebble(workers: int, fresh: bool) -> PoolFace:
    pool = importlib.import_module("pebble").ProcessPool(workers)
    schedule = pool.schedule

    def each(function: Function, items: Iterable[Any]) -> list[Any]:
        futures = [schedule(function, (item,)) for item in items]
        return [future.result() for future in futures]

    def call(function: Function, item: Any) -> Any:
        return schedule(function, (item,)).result()

    def submit(function: Function, item: Any) -> Any:
        return schedule(function, (item,))

    def map_all(function: Function, items: Sequence[Any], chunk: int | None) -> Iterable[Any]:
        results: Iterable[Any] = pool.map(function, items, chunksize=chunk or 1).result()
        return results

    def close() -> None:
        pool.close()
        pool.join()

    return PoolFace(each, call, map_all, close, submit)


def deadpool(workers: int, fresh: bool) -> PoolFace:
    return executor_face(importlib.import_module("deadpool").Deadpool(workers))


OPENERS: dict[str, Callable[[int, bool], PoolFace]] = {
    "counterpoint": counterpoint,
    "stdlib": stdlib,
    "multiprocessing.Pool": multiprocessing_pool,
    "loky": loky,
    "joblib": joblib,
    "mpire": mpire,
    "pebble": pebble,
    "deadpool-executor": deadpool,
}
# What is imported, where it is not named as its column.
MODULES = {"deadpool-executor": "deadpool", "multiprocessing.Pool": "multiprocessing"}
# Those whose map has no chunks.
UNCHUNKED = ("deadpool-executor",)


@dataclass(frozen=True)
class Hosted:
    """Stands for a library's process pools or queues, which another process opens.

    work: what is done instead of the case's work; workers: instead of the case's number.
    """

    library: str
    work: str = ""
    workers: int = 0

    def __call__(self, workers: int = 2) -> PoolFace:
        """A pool in this process."""
        return OPENERS[self.library](workers, False)


def process_kinds(name: str) -> dict[str, Hosted]:
    """The factories of a library's process pools."""
    kinds = ("ProcessPool",) if name in UNCHUNKED else ("ProcessPool", "ChunkedProcessPool")
    return dict.fromkeys(kinds, Hosted(name))


def queue_kinds(name: str) -> dict[str, Hosted]:
    """The factory of a library's queues between processes."""
    return {"ProcessQueue": Hosted(name)}


def version_of(name: str) -> str:
    """Of a package, or of Python for what comes with it."""
    if name in ("stdlib", "multiprocessing.Pool"):
        return platform.python_version()
    importlib.import_module(MODULES.get(name, name))
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
