"""What tests of worker processes need: a stand-in for the pool, and a worker to ask."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from counterpoint import _core
from counterpoint._worker import wire, zygotes
from counterpoint._worker.launch import Launcher, Worker
from counterpoint._worker.spares import NAME
from tests.support import DEADLINE

# What a worker calls instead of the pool's loop: it executes what it is told to, with the writing
# end of a pipe as `out`. It stands in, too, for what the core does not offer yet.
STAND_IN = """
import os, signal, sys, threading, time
from counterpoint import _core

if not hasattr(_core, "_die_with_parent"):
    try:
        import ctypes
    except ImportError:
        pass
    else:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)

def serve(out, *fds_and_config):
    *fds, config = fds_and_config
    scope = {"out": out, "fds": fds, "say": lambda value: os.write(out, repr(value).encode())}
    exec(compile(config.decode(), "<task>", "exec"), {**globals(), **scope}, scope)
    return scope.get("status")
"""

WAIT = "\nwhile True: signal.pause()"

CAN_DIE_WITH_PARENT = hasattr(_core, "_die_with_parent") or importlib.util.find_spec("_ctypes")

needs_death_signal = pytest.mark.skipif(
    not CAN_DIE_WITH_PARENT, reason="this build has neither ctypes nor the core's own way to ask"
)


class Told:
    """A worker, and the reading end of the pipe that it writes to."""

    def __init__(self, worker: Worker, pipe: int) -> None:
        self.worker = worker
        self.pipe = pipe

    def hear(self) -> Any:
        assert wire.wait_readable(self.pipe, DEADLINE), "the worker says nothing"
        said = os.read(self.pipe, 65536)
        assert said, f"the worker ended: {self.worker.exit_status(DEADLINE)}"
        return eval(said)

    def end(self) -> int | None:
        return self.worker.exit_status(DEADLINE)


@contextmanager
def told(method: str, code: str, *fds: int, **options: Any) -> Iterator[Told]:
    """A worker that executes the code."""
    reading, writing = os.pipe()
    try:
        worker = Launcher(method, target="stand_in:serve").launch(
            [writing, *fds], code.encode(), **options
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        yield Told(worker, reading)
    finally:
        os.close(reading)
        worker.kill()
        worker.close()


def ask(method: str, code: str) -> Any:
    """What a worker says."""
    with told(method, code) as worker:
        answer = worker.hear()
        assert worker.end() == 0
        return answer


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def exists(pid: int) -> bool:
    """Whether the number is taken."""
    return Path(f"/proc/{pid}").exists()


def zygote_pid() -> int:
    return zygotes.ensure().pid


@contextmanager
def stopped_zygote() -> Iterator[int]:
    """A zygote that reads nothing for now."""
    pid = zygote_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


def spares() -> list[int]:
    """Workers that were forked ahead."""
    children = Path(f"/proc/{zygote_pid()}/task/{zygote_pid()}/children").read_text().split()
    return [int(pid) for pid in children if name_of(int(pid)) == NAME]


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it has ended
        return ""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
