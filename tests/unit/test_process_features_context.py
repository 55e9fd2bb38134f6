"""Context variables of the submitting code, in the tasks."""

from __future__ import annotations

import contextvars
import decimal
import threading
from typing import Any

from counterpoint._process.executor import ProcessPoolExecutor
from tests.support import DEADLINE, run_async

number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)
thing: contextvars.ContextVar[Any] = contextvars.ContextVar("thing", default="unset")


def read() -> tuple[int, Any]:
    return number.get(), thing.get()


def write(value: int) -> None:
    number.set(value)


def submitted_in(pool: ProcessPoolExecutor, values: dict[contextvars.ContextVar[Any], Any]) -> Any:
    """What `read` sees when it is submitted with these values."""

    def submit() -> Any:
        for variable, value in values.items():
            variable.set(value)
        return pool.submit(read).result(DEADLINE)

    return contextvars.copy_context().run(submit)


def test_values_reach_the_task() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert submitted_in(pool, {}) == (0, "unset")
        assert submitted_in(pool, {number: 1, thing: ["a", 2]}) == (1, ["a", 2])
        # And that task alone.
        assert submitted_in(pool, {}) == (0, "unset")


def test_what_cannot_travel_stays() -> None:
    local: contextvars.ContextVar[int] = contextvars.ContextVar("local")
    with ProcessPoolExecutor(1) as pool:
        values = {number: 2, thing: threading.Lock(), local: 3}
        assert submitted_in(pool, values) == (2, "unset")


def test_variables_of_c_modules_do_no_harm() -> None:
    with ProcessPoolExecutor(1) as pool, decimal.localcontext():
        assert pool.submit(read).result(DEADLINE) == (0, "unset")


def test_what_a_task_sets_the_next_does_not_see() -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(write, 5).result(DEADLINE)
        assert pool.submit(read).result(DEADLINE) == (0, "unset")


def test_what_the_initializer_sets_every_task_sees() -> None:
    with ProcessPoolExecutor(1, initializer=write, initargs=(6,)) as pool:
        assert pool.submit(read).result(DEADLINE)[0] == 6
        assert submitted_in(pool, {thing: 1}) == (6, 1)


def test_a_large_value_and_one_of_an_asyncio_task() -> None:
    async def main() -> None:
        with ProcessPoolExecutor(1) as pool:
            thing.set(bytearray(1 << 20))
            _, value = await pool.submit(read)
            assert value == bytearray(1 << 20)

    run_async(main())


def test_chunks_of_map_run_in_the_context() -> None:
    def work(pool: ProcessPoolExecutor) -> list[int]:
        number.set(9)
        return list(pool.map(reads, range(10), chunksize=5))

    with ProcessPoolExecutor(2) as pool:
        assert contextvars.copy_context().run(work, pool) == [9] * 10


def reads(_: int) -> int:
    return number.get()
