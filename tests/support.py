"""What tests of waiting need: deadlines instead of sleeps, threads and loops that end, programs."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

# Long enough for a machine that does a dozen other things; a test that works never waits for it.
DEADLINE = 30.0

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def eventually(condition: Callable[[], object], timeout: float = DEADLINE) -> None:
    """Returns once the condition holds; fails if that takes too long."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"never became true: {condition}"
        time.sleep(0.0005)


async def eventually_async(condition: Callable[[], object], timeout: float = DEADLINE) -> None:
    """The same without blocking the event loop."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"never became true: {condition}"
        await asyncio.sleep(0.0005)


def spawn(function: Callable[..., T], *args: Any) -> Future[T]:
    """Runs a function in a daemon thread of its own; the future brings its result or error."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    future.thread = thread  # type: ignore[attr-defined]
    return future


def result(future: Future[T]) -> T:
    """The result of `spawn`, when its thread has ended as well."""
    value = future.result(DEADLINE)
    thread = getattr(future, "thread", None)
    if thread is not None:
        thread.join(DEADLINE)
    return value


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in a new event loop, for a limited time."""

    async def limited() -> T:
        return await asyncio.wait_for(coroutine, DEADLINE)

    return asyncio.run(limited())


class Interrupted(BaseException):
    """What `interrupted` raises."""


@contextmanager
def interrupted(waits: Callable[[], object]) -> Iterator[None]:
    """The block waits in the main thread, and is interrupted, as by Ctrl-C, once `waits()`."""

    def interrupt() -> None:
        eventually(waits)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handler(*_: object) -> None:
        raise Interrupted

    old = signal.signal(signal.SIGUSR1, handler)
    interrupting = spawn(interrupt)
    try:
        yield
        raise AssertionError("nothing was interrupted")
    except Interrupted:
        pass
    finally:
        result(interrupting)
        signal.signal(signal.SIGUSR1, old)


class LoopThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Makes a task of the coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self) -> None:
        """Stops the loop between two callbacks, its tasks left as they are."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(DEADLINE)
            assert not self.thread.is_alive()

    def close(self) -> None:
        """Stops and closes the loop."""
        self.stop()
        self.loop.close()


@contextmanager
def loops(count: int = 1) -> Iterator[list[LoopThread]]:
    """So many event loops in threads, closed in the end."""
    running = [LoopThread() for _ in range(count)]
    try:
        yield running
    finally:
        for each in running:
            each.close()


def is_collected(reference: weakref.ref[Any]) -> bool:
    """Whether the object is gone after the garbage collector had its chances."""
    for _ in range(5):
        if reference() is None:
            return True
        gc.collect()
    return reference() is None


def python(code: str, *args: str, timeout: float = 50.0) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; a hang fails the test."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": ""},
    )


def succeeds(code: str, *args: str, timeout: float = 50.0) -> str:
    """Runs a program that has to end well and silently; returns what it printed."""
    done = python(code, *args, timeout=timeout)
    assert (done.returncode, done.stderr) == (0, ""), (done.returncode, done.stdout, done.stderr)
    return done.stdout
