"""Checks of an executor's arguments."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence

__all__ = ["check_chunks", "check_cpus", "check_size"]


def check_size(
    max_workers: int, min_workers: int, idle_timeout: float | None, max_memory: int | None
) -> None:
    """Raise ValueError for what makes no sense."""
    if not 0 <= min_workers <= max_workers:
        raise ValueError(
            f"min_workers must be from 0 to max_workers={max_workers}, not {min_workers}"
        )
    if idle_timeout is not None and not idle_timeout >= 0:
        raise ValueError(f"idle_timeout must be None or not negative, not {idle_timeout}")
    if max_memory is not None and max_memory < 1:
        raise ValueError(f"max_memory_per_worker must be None or positive, not {max_memory}")


def check_cpus(affinity: Sequence[int | Iterable[int]] | None) -> list[tuple[int, ...]]:
    """Each worker's CPUs, of those that this process may use."""
    if affinity is None:
        return []
    usable = os.sched_getaffinity(0)
    try:
        every = [(one,) if isinstance(one, int) else tuple(one) for one in affinity]
    except TypeError:
        raise TypeError(
            f"cpu_affinity must have a CPU, or CPUs, for each worker, not {affinity!r}"
        ) from None
    if not every:
        raise ValueError(f"cpu_affinity must be None or name a CPU at least, not {affinity!r}")
    for cpus in every:
        if not cpus or not usable.issuperset(cpus):
            raise ValueError(
                f"cpu_affinity must name CPUs of {sorted(usable)} for each worker, not {cpus}"
            )
    return every


def check_chunks(chunksize: object) -> None:
    """Raise for what is no size of a chunk."""
    if chunksize == "auto":
        return
    try:
        size = operator.index(chunksize)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        text = f"chunksize must be an integer or 'auto', not {chunksize!r}"
        raise TypeError(text) from None
    if size < 1:
        raise ValueError("chunksize must be >= 1.")
