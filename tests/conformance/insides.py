"""Stand-ins for what a suite takes from the inside of a class, only to wait for it."""

from __future__ import annotations

from counterpoint.futures import ProcessPoolExecutor

__all__ = ["with_insides"]


class End:
    """In place of the stdlib's thread and queue of a pool: the end of ours."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._pool = executor._counterpoint_pool

    def join(self, timeout: float | None = None) -> None:
        """Wait for it."""
        self._pool.wait_for_end(timeout)

    join_thread = join

    def is_alive(self) -> bool:
        """Whether it is still to come."""
        return not self._pool.is_over()


def with_insides(real: type[ProcessPoolExecutor]) -> type[ProcessPoolExecutor]:
    """The class of pools, whose threads and queues can be joined."""
    end = property(End)
    return type(real.__name__, (real,), {"_executor_manager_thread": end, "_call_queue": end})
