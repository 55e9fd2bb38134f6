"""What a pool uses to start its workers.

>>> launcher = Launcher()                      # the zygote starts to start
>>> launcher.start()
>>> stop()
True
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import time
from collections.abc import Iterable, Sequence
from multiprocessing import process, resource_tracker, spawn, util
from typing import NoReturn, TypeAlias

from counterpoint._core import Guard

from . import kernel, wire, zygotes
from .worker import ForkedWorker, Worker, ZygoteWorker
from .zygotes import stop

__all__ = ["METHODS", "PATIENCE", "Begun", "Launch", "Launcher", "Worker", "stop"]

METHODS = ("zygote", "spawn", "fork")

SERVE = "counterpoint._core:_serve"

# How many seconds a worker may take to begin.
PATIENCE = 60.0

_numbers = itertools.count(1)
# Held from the making of a pipe until it is known to be closed in forks of this process: two
# workers that held each other's would both outlive it. Reentrant, for a signal handler that forks.
_forking = Guard()


class Launch:
    """A worker that was asked for and may not have begun yet.

    Attributes:
        ready: a descriptor that is readable once `worker()` will not block.
    """

    def __init__(self, kind: bytes, fds: Sequence[int], start: wire.Start) -> None:
        self._kind = kind
        self._fds = fds
        self._start = start
        self._channel: socket.socket | None = None
        zygotes.forget_in_child(self)
        self._send()

    @property
    def ready(self) -> int:
        """See the class."""
        return -1 if self._channel is None else self._channel.fileno()

    def worker(self, timeout: float | None = PATIENCE) -> Worker:
        """The worker, once it has begun; to be called once, by one thread.

        A zygote that died meanwhile is replaced once, and asked again; so is one whose worker died
        before it had begun.

        Raises:
            TimeoutError: it has not begun after so many seconds, and will not.
            OSError: it could not be forked, or lacks descriptors.
            ChildProcessError: the zygote has died again, or the next worker before it had begun.
        """
        end = None if timeout is None else time.monotonic() + timeout
        try:
            report = self._report(end) or self._again(end)
            if report is not None and report.kind == wire.ENDED:
                # Nothing of it has run; a spare may have been killed while it waited.
                report = self._anew(end)
            return self._judge(report)
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Want no worker any more: one that has begun is killed. After `worker()`, do nothing."""
        report = self._withdraw()
        if report is not None and report.fd >= 0:
            # Its number stays taken as long as the channel is open; else it died with the zygote.
            if not self._zygote.has_ended():
                kernel.kill_group(report.number)
            os.close(report.fd)
        self.forget()

    def forget(self) -> None:
        """Close the channel, which in a fork of this process is none of ours."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __del__(self) -> None:
        if hasattr(self, "_channel"):
            self.cancel()

    def _withdraw(self) -> wire.Report | None:
        """What has come, after making sure that nothing will: the worker could not report."""
        if self._channel is None:
            return None
        try:
            self._channel.shutdown(socket.SHUT_RD)
            return wire.read_report(self._channel)
        except (BlockingIOError, OSError):
            return None

    def _send(self) -> None:
        for _ in range(2):
            self._zygote = zygotes.ensure()
            self._channel, theirs = wire.pair()
            try:
                if self._send_to(self._zygote, theirs.fileno()):
                    return
            finally:
                theirs.close()
            self._channel.close()
            self._zygote.has_ended(_A_DEATH)
        self._fail()

    def _send_to(self, zygote: zygotes.ZygoteHandle, report: int) -> bool:
        payload = wire.seal(self._start)
        opened = [payload]
        try:
            output = [_open_or_null(fd, opened) for fd in (1, 2)]
            return zygote.send(self._kind, [report, payload, *output, *self._fds])
        finally:
            wire.close_all(opened)

    def _report(self, end: float | None) -> wire.Report | None:
        assert self._channel is not None
        left = None if end is None else max(0.0, end - time.monotonic())
        if wire.wait_readable(self._channel.fileno(), left, self._zygote.pidfd):
            # Asked first: what was sent before its end is there then.
            lost = self._zygote.has_ended()
            try:
                return wire.read_report(self._channel)
            except BlockingIOError:
                return None if lost else self._report(end)
        report = self._withdraw()
        if report is None:
            raise TimeoutError("the worker has not begun in time, though its zygote is alive")
        return report

    def _again(self, end: float | None) -> wire.Report | None:
        if not self._zygote.has_ended(_A_DEATH):
            raise OSError(errno.EMFILE, "the zygote has no room for the worker's descriptors")
        return self._anew(end)

    def _anew(self, end: float | None) -> wire.Report | None:
        self.forget()
        if self._kind == wire.WARM:
            self._kind = wire.FRESH
        self._send()
        return self._report(end)

    def _judge(self, report: wire.Report | None) -> Worker:
        if report is None:
            self._fail()
        if report.kind == wire.FAILED:
            raise OSError(report.number, f"no worker can be forked: {os.strerror(report.number)}")
        if report.kind == wire.ENDED:
            raise ChildProcessError(
                f"the worker ended with status {report.number} before it had begun; "
                "standard error may say why"
            )
        if report.fd < 0:
            raise OSError(errno.EMFILE, "no room for a descriptor of the worker; close some")
        assert self._channel is not None
        channel, self._channel = self._channel, None
        return ZygoteWorker(report.number, report.fd, channel, self._zygote)

    def _fail(self) -> NoReturn:
        self._zygote.has_ended(_A_DEATH)
        raise ChildProcessError(
            f"the zygote, which starts the workers, ended with status {self._zygote.status} before "
            "this one had begun, and so did its replacement; standard error may say why"
        )


class Forked:
    """A worker that has begun, in the terms of `Launch`."""

    ready = -1

    def __init__(self, worker: ForkedWorker) -> None:
        self._worker = worker

    def worker(self, timeout: float | None = None) -> Worker:
        """It."""
        return self._worker

    def cancel(self) -> None:
        """Kill it; not after `worker()`."""
        self._worker.kill()
        self._worker.close()


Begun: TypeAlias = Launch | Forked

# Between the end of the zygote's sockets and that of its process.
_A_DEATH = 2.0


class Launcher:
    """Starts workers by one method.

    "zygote" forks them from a process that is kept for that, warm and of one thread; "spawn" has
    that process start a new interpreter for each; "fork" forks this process, as it is, with the
    locks that its other threads hold. Every method of it may be called from any thread, and in a
    fork of this process, where the first use starts another zygote.

    Args:
        method: one of METHODS.
        target: `module:function`, which the worker calls with its descriptors and its config. What
            it returns is the exit status, None being 0.
        early: the same, called before the program's main module is imported, if there is one.
        tracker: start multiprocessing's resource tracker if this process has none yet, as
            multiprocessing does for every child. Without, the workers share the one there is, and
            else each that needs one has its own, which removes what is left at the worker's end.
    """

    def __init__(
        self,
        method: str = "zygote",
        *,
        target: str = SERVE,
        early: str | None = None,
        tracker: bool = False,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"no way to start a worker is called {method!r}; use one of {METHODS}")
        self.method = method
        self.target = target
        self.early = early
        self.tracker = tracker

    def start(self) -> None:
        """Start the zygote if need be, so that it is ready sooner; waits for nothing."""
        if self.method != "fork":
            zygotes.ensure()

    def preload(self, modules: Iterable[str]) -> None:
        """Have the zygote import modules while it is idle, so that no worker needs to.

        Only those that a fork of it could import without harm and without leaving a thread behind.
        Lasts for all workers that are launched later, of every launcher, and is no promise.
        """
        if self.method == "zygote":
            zygotes.preload(modules)

    def launch(
        self,
        fds: Sequence[int],
        config: bytes,
        name: str | None = None,
        timeout: float | None = PATIENCE,
    ) -> Worker:
        """A worker that has begun. It does not end with the object, but with this process.

        Args:
            fds: descriptors for the target, in its order; the caller's copies stay the caller's.
            config: for the target.
            name: that of `multiprocessing.current_process()` in the worker.
            timeout: seconds; see `Launch.worker`, also for what it raises.
        """
        return self.begin(fds, config, name).worker(timeout)

    def begin(self, fds: Sequence[int], config: bytes, name: str | None = None) -> Begun:
        """What brings a worker, waiting as little for it as the method allows; `fds` as above."""
        if self.method == "fork":
            return Forked(self._fork(fds, config, name))
        return self.request(fds, config, name)

    def request(self, fds: Sequence[int], config: bytes, name: str | None = None) -> Launch:
        """Ask for a worker without waiting for it; `fds` must stay open until it has begun.

        Not for "fork", which has nothing to wait for.
        """
        if self.method == "fork":
            raise ValueError("a fork is there at once; use launch()")
        kind = wire.WARM if self.method == "zygote" else wire.COLD
        name = name or _name()
        start = self._start(config, name)
        if start.tracker:
            fds = [*fds, resource_tracker._resource_tracker._fd]  # type: ignore[attr-defined]
        return Launch(kind, tuple(fds), start)

    def _start(self, config: bytes, name: str) -> wire.Start:
        if self.tracker:
            resource_tracker.ensure_running()
        preparation = spawn.get_preparation_data(name)
        if os.path.basename(preparation.get("init_main_from_path", "")) == "<stdin>":
            # A program that came through a pipe is gone; multiprocessing's children fail over it.
            del preparation["init_main_from_path"]
        # A type of its own that refuses to be pickled by anyone but multiprocessing.
        preparation["authkey"] = bytes(preparation["authkey"])
        return wire.Start(
            target=self.target,
            early=self.early,
            config=config,
            preparation=preparation,
            environment=dict(os.environ),
            name=name,
            parent_pid=os.getpid(),
            parent_name=process.current_process().name,
            tracker=resource_tracker._resource_tracker._fd is not None,  # type: ignore[attr-defined]
        )

    def _fork(self, fds: Sequence[int], config: bytes, name: str | None) -> ForkedWorker:
        start = wire.Start(
            target=self.target,
            early=self.early,
            config=config,
            preparation=None,
            environment={},
            name=name or _name(),
            parent_pid=os.getpid(),
            parent_name=process.current_process().name,
            tracker=False,
        )
        util._flush_std_streams()  # type: ignore[attr-defined]
        with _forking.held():
            return _fork(start, fds)


def _fork(start: wire.Start, fds: Sequence[int]) -> ForkedWorker:
    # Before the fork, so that it is imported once; not by those who never fork.
    from . import boot

    life, held = os.pipe()
    parent = kernel.pidfd_open(os.getpid())
    # Copies, which nothing closes that runs in a fork of this process.
    fds = [os.dup(fd) for fd in fds]
    try:
        pid = os.fork()
        if pid == 0:
            os.close(held)
            boot.enter_forked(start, fds, parent, life)
        return ForkedWorker(pid, wire.above(held))
    except BaseException:
        os.close(held)
        raise
    finally:
        wire.close_all([life, parent, *fds])


def _name() -> str:
    return f"CounterpointWorker-{next(_numbers)}"


def _open_or_null(fd: int, opened: list[int]) -> int:
    if not zygotes.is_open(fd):
        fd = os.open(os.devnull, os.O_WRONLY)
        opened.append(fd)
    return fd
