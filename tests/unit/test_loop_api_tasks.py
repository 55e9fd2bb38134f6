"""Tasks, executors, generators and runners on the loop, where CPython's suites are silent."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import weakref
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from counterpoint.aio import new_event_loop
from tests import loops
from tests.support import DEADLINE, FREE_THREADED

number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)

eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
starts = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="create_task(eager_start=) is new in Python 3.14"
)


async def value() -> int:
    return number.get()


def test_a_task_is_asyncio_s_and_of_this_loop(loop: AbstractEventLoop) -> None:
    task = loop.create_task(value())
    assert type(task) is asyncio.Task
    assert task.get_loop() is loop
    future = loop.create_future()
    assert type(future) is asyncio.Future
    assert future.get_loop() is loop
    future.cancel()
    assert loop.run_until_complete(task) == 0


def test_a_task_has_a_name_and_a_context(loop: AbstractEventLoop) -> None:
    context = contextvars.copy_context()
    context.run(number.set, 5)
    tasks = [
        loop.create_task(value()),
        loop.create_task(value(), name="own"),
        loop.create_task(value(), name="own", context=context),
    ]
    assert [loop.run_until_complete(task) for task in tasks] == [0, 0, 5]
    assert tasks[0].get_name().startswith("Task-")
    assert [task.get_name() for task in tasks[1:]] == ["own", "own"]


@starts
def test_an_eager_task_begins_at_once(loop: AbstractEventLoop) -> None:
    seen: list[str] = []

    async def note() -> None:
        seen.append("begun")
        await asyncio.sleep(0)
        seen.append("done")

    async def main() -> None:
        task = loop.create_task(note(), eager_start=True, name="own")  # type: ignore[call-arg]
        assert seen == ["begun"]
        assert task.get_name() == "own"
        lazy = loop.create_task(value(), eager_start=False)  # type: ignore[call-arg]
        assert not lazy.done()
        await asyncio.gather(task, lazy)

    loop.run_until_complete(main())
    assert seen == ["begun", "done"]


@starts
def test_whether_a_task_begins_at_once_is_said_each_time(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        for eager in (True, False, True, True, False):
            task = loop.create_task(value(), eager_start=eager)  # type: ignore[call-arg]
            assert (task.done(), task.get_loop()) == (eager, loop)
            plain = loop.create_task(value())
            assert not plain.done()
            await asyncio.gather(task, plain)

    loop.run_until_complete(main())


def test_a_task_factory_makes_the_tasks(loop: AbstractEventLoop) -> None:
    made: list[asyncio.Task[Any]] = []

    class Task(asyncio.Task):  # type: ignore[type-arg]
        pass

    def factory(made_by: AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        made.append(Task(coroutine, loop=made_by, **options))
        return made[-1]

    assert loop.get_task_factory() is None
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    task = loop.create_task(value(), name="own")
    assert made == [task]
    assert task.get_name() == "own"
    assert loop.run_until_complete(task) == 0
    loop.set_task_factory(None)
    assert type(loop.create_task(value())) is asyncio.Task
    loop.run_until_complete(asyncio.sleep(0))
    with pytest.raises(TypeError, match="task factory must be a callable or None"):
        loop.set_task_factory(7)  # type: ignore[arg-type]


@eager
def test_the_eager_task_factory_works(loop: AbstractEventLoop) -> None:
    loop.set_task_factory(asyncio.eager_task_factory)

    async def main() -> bool:
        return loop.create_task(value()).done()

    assert loop.run_until_complete(main()) is True


def test_tasks_are_known_to_asyncio(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        other = loop.create_task(asyncio.sleep(60))
        assert asyncio.all_tasks() == {asyncio.current_task(), other}
        other.cancel()

    loop.run_until_complete(main())


def test_any_awaitable_is_run(loop: AbstractEventLoop) -> None:
    class Awaitable:
        def __await__(self) -> Generator[Any, Any, str]:
            yield from asyncio.sleep(0).__await__()
            return "awaited"

    assert loop.run_until_complete(Awaitable()) == "awaited"


class TestExecutors:
    def test_the_default_has_threads_of_its_own(self, loop: AbstractEventLoop) -> None:
        async def main() -> int:
            return await loop.run_in_executor(None, threading.get_ident)

        assert loop.run_until_complete(main()) != threading.get_ident()

    def test_another_is_used_where_it_is_named(self, loop: AbstractEventLoop) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="own") as pool:

            async def main() -> str:
                return await loop.run_in_executor(pool, lambda: threading.current_thread().name)

            assert loop.run_until_complete(main()).startswith("own")

    def test_it_can_be_set_but_to_threads_alone(self, loop: AbstractEventLoop) -> None:
        pool = ThreadPoolExecutor(1, thread_name_prefix="own")
        loop.set_default_executor(pool)

        async def main() -> str:
            return await loop.run_in_executor(None, lambda: threading.current_thread().name)

        assert loop.run_until_complete(main()).startswith("own")
        with pytest.raises(TypeError):
            loop.set_default_executor(object())  # type: ignore[arg-type]

    def test_an_error_comes_back(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(None, divmod, 1, 0)

        loop.run_until_complete(main())

    def test_shutdown_waits_for_what_runs(self, loop: AbstractEventLoop) -> None:
        go, seen = threading.Event(), []

        def work() -> None:
            go.wait(DEADLINE)
            seen.append("done")

        async def main() -> None:
            loop.run_in_executor(None, work)
            loop.call_later(0.01, go.set)
            await loop.shutdown_default_executor()
            assert seen == ["done"]
            with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
                loop.run_in_executor(None, int)

        loop.run_until_complete(main())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="the timeout is new in Python 3.12")
    def test_shutdown_has_a_timeout(self, loop: AbstractEventLoop) -> None:
        go = threading.Event()

        async def main() -> None:
            loop.run_in_executor(None, go.wait, DEADLINE)
            with pytest.warns(RuntimeWarning, match="did not finishing joining its threads"):
                await loop.shutdown_default_executor(timeout=0.01)
            go.set()

        loop.run_until_complete(main())


class TestGenerators:
    async def numbers(self, seen: list[str]) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    def test_one_left_open_is_closed_at_shutdown(self, loop: AbstractEventLoop) -> None:
        seen: list[str] = []
        generator = self.numbers(seen)

        async def main() -> None:
            assert await anext(generator) == 1

        loop.run_until_complete(main())
        assert seen == []
        loop.run_until_complete(loop.shutdown_asyncgens())
        assert seen == ["closed"]

    def test_one_that_is_dropped_is_closed_by_the_loop(self, loop: AbstractEventLoop) -> None:
        seen: list[str] = []

        async def main() -> None:
            async for _ in self.numbers(seen):
                break
            gc.collect()
            while not seen:
                await asyncio.sleep(0)

        loop.run_until_complete(asyncio.wait_for(main(), DEADLINE))
        assert seen == ["closed"]

    def test_one_that_begins_after_shutdown_is_warned_of(self, loop: AbstractEventLoop) -> None:
        loop.run_until_complete(loop.shutdown_asyncgens())

        async def main() -> None:
            generator = self.numbers([])
            with pytest.warns(ResourceWarning, match="was scheduled after"):
                await anext(generator)
            await generator.aclose()  # type: ignore[attr-defined]

        loop.run_until_complete(main())

    def test_an_error_in_one_reaches_the_handler(self, loop: AbstractEventLoop) -> None:
        contexts: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: contexts.append(context))

        async def failing() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                raise ValueError("closing")

        generator = failing()

        async def main() -> None:
            await anext(generator)

        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
        (context,) = contexts
        assert isinstance(context["exception"], ValueError)
        assert context["asyncgen"] is generator


class TestRunners:
    def test_a_runner_uses_the_factory_s_loop(self) -> None:
        async def main() -> type:
            return type(asyncio.get_running_loop())

        with asyncio.Runner(loop_factory=loops.factory()) as runner:
            used = runner.get_loop()
            assert runner.run(main()) is type(used)
            assert runner.run(main(), context=contextvars.copy_context()) is type(used)
        assert used.is_closed()

    def test_a_runner_sets_debug(self) -> None:
        async def main() -> bool:
            return asyncio.get_running_loop().get_debug()

        for debug in (True, False):
            with asyncio.Runner(loop_factory=loops.factory(), debug=debug) as runner:
                assert runner.run(main()) is debug

    def test_a_runner_ends_what_is_left(self) -> None:
        seen: list[str] = []

        async def left() -> None:
            try:
                await asyncio.sleep(DEADLINE)
            finally:
                seen.append("cancelled")

        async def main() -> None:
            task = asyncio.create_task(left())
            await asyncio.sleep(0)
            assert not task.done()

        with asyncio.Runner(loop_factory=loops.factory()) as runner:
            runner.run(main())
        assert seen == ["cancelled"]

    def test_ctrl_c_cancels_the_main_task(self) -> None:
        seen: list[str] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.call_soon(os.kill, os.getpid(), 2)
            try:
                await asyncio.sleep(DEADLINE)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        with asyncio.Runner(loop_factory=loops.factory()) as runner:
            with pytest.raises(KeyboardInterrupt):
                runner.run(main())
            assert runner.run(asyncio.sleep(0, "usable")) == "usable"
        assert seen == ["cancelled"]


PROGRAM = """
import asyncio, sys
from tests import loops

async def inner():
    print("waiting", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

async def outer():
    async with asyncio.TaskGroup() as group:
        group.create_task(inner(), name="the inner one")

with asyncio.Runner(loop_factory=loops.factory()) as runner:
    runner.run(outer())
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio's ps is new in Python 3.14")
@pytest.mark.skipif(
    importlib.util.find_spec("_remote_debugging") is None,
    reason="this build of Python cannot look into other processes",
)
@pytest.mark.parametrize("command", ["ps", "pstree"])
def test_tasks_are_seen_from_outside(command: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdin
        assert program.stdout
        assert program.stdout.readline() == "waiting\n"
        shown = subprocess.run(
            [sys.executable, "-m", "asyncio", command, str(program.pid)],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        program.stdin.close()
    assert program.returncode == 0
    if "ermission" in shown.stdout + shown.stderr:
        pytest.skip("this machine lets no process look into another")
    assert "the inner one" in shown.stdout, shown.stderr


@pytest.mark.skipif(FREE_THREADED, reason="references are not counted in one place there")
def test_a_closed_loop_is_freed_with_its_last_reference() -> None:
    loop = new_event_loop()
    loop.create_future()
    loop.close()
    assert not loop.create_future().done()
    known = weakref.ref(loop)
    del loop
    assert known() is None


Numeric = Callable[[AbstractEventLoop], Any]


def test_numeric_addresses_are_looked_up(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert found == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await loop.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("127.0.0.1.", 80, flags=socket.AI_NUMERICHOST)

    loop.run_until_complete(main())
