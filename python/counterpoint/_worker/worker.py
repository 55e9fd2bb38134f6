"""A worker as the user's process sees it: its number, its signals, its end."""

from __future__ import annotations

import os
import signal as signals
import socket

from counterpoint._core import Guard

from . import kernel, wire, zygotes

__all__ = ["ForkedWorker", "Worker", "ZygoteWorker"]

# Linux 6.9: the group that the process leads, exactly, even after the process itself is gone.
_PIDFD_SIGNAL_PROCESS_GROUP = 4


class Worker:
    """A process that was launched.

    Its number stays taken, and so stands for nobody else, until `close()`, though it may have
    ended long before. Every method may be called from any thread; in a fork of this process each
    does nothing.

    Attributes:
        pid: its process number, and that of its process group.
        pidfd: a descriptor that is readable once it has ended. This object closes it.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._status: int | None = None
        self._closed = False
        # Reentrant, for a signal handler that kills.
        self._lock = Guard()
        zygotes.forget_in_child(self)

    def __repr__(self) -> str:
        state = "alive" if self._status is None else f"ended with status {self._status}"
        return f"<{type(self).__name__} {self.pid} {state}>"

    def exit_status(self, timeout: float | None = None) -> int | None:
        """How it ended, as `multiprocessing.Process.exitcode` says it: negative for a signal.

        Waits for the end, at most `timeout` seconds; None if it still runs. With a timeout of 0 it
        never blocks. Nobody may close it meanwhile.
        """
        while True:
            status = self._status
            if status is not None or self._closed or not self._wait(timeout):
                return status
            with self._lock.held():
                if self._status is None and not self._closed:
                    self._status = self._collect()

    def has_ended(self, timeout: float | None = 0.0) -> bool:
        """Whether it has ended, after a wait of at most `timeout` seconds; also when closed."""
        with self._lock.held():
            if self._closed:
                return True
            # Another may close ours meanwhile.
            copy = os.dup(self.pidfd)
        try:
            return wire.wait_readable(copy, timeout)
        finally:
            os.close(copy)

    def exit_status_if_ended(self, timeout: float) -> int | None:
        """How it ended, whose report may take so many seconds; None if it still runs."""
        with self._lock.held():
            # Held, so that nobody closes it.
            return self.exit_status(timeout) if self.has_ended() else None

    def send_signal(self, signal: int) -> bool:
        """Signal the process alone; whether it could still receive one."""
        with self._lock.held():
            if self._closed:
                return False
            try:
                kernel.pidfd_send_signal(self.pidfd, signal)
            except ProcessLookupError:
                return False
            return True

    def kill(self, signal: int = signals.SIGKILL) -> bool:
        """Signal the process and its group, which is what it started; whether there was anybody.

        The group alone may be left, after the end of the process.
        """
        with self._lock.held():
            if self._closed:
                return False
            # If a task made it leave the group that it has led, the group's signal misses it.
            alone = not self._leads() and self.send_signal(signal)
            return self._signal_group(signal) or alone

    def _signal_group(self, signal: int) -> bool:
        try:
            kernel.pidfd_send_signal(self.pidfd, signal, _PIDFD_SIGNAL_PROCESS_GROUP)
        except ProcessLookupError:
            return False
        except OSError:
            return self._signal_group_by_number(signal)
        return True

    def _signal_group_by_number(self, signal: int) -> bool:
        if not self._is_pinned():
            return False
        try:
            os.killpg(self.pid, signal)
        except OSError:
            return False
        return True

    def _leads(self) -> bool:
        try:
            return os.getpgid(self.pid) == self.pid
        except ProcessLookupError:
            return True

    def close(self) -> None:
        """Let go of it. It goes on if it runs; its end is nobody's business any more.

        Called again, it does nothing.
        """
        with self._lock.held():
            if not self._closed:
                self._closed = True
                self._release()
                os.close(self.pidfd)

    def forget(self) -> None:
        """Close it in a fork of this process, where it is none of ours."""
        if not self._closed:
            self._closed = True
            self._abandon()
            os.close(self.pidfd)

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()

    def _wait(self, timeout: float | None) -> bool:
        """Whether `_collect` has something to look at."""
        raise NotImplementedError

    def _collect(self) -> int | None:
        """The status, or None if it was too early to ask."""
        raise NotImplementedError

    def _is_pinned(self) -> bool:
        """Whether the number is still the worker's: it was not reaped."""
        raise NotImplementedError

    def _release(self) -> None:
        """Have it reaped, now or when it ends."""
        raise NotImplementedError

    def _abandon(self) -> None:
        """Close the descriptors of this class, without any other effect."""
        raise NotImplementedError


class ZygoteWorker(Worker):
    """A child of the zygote, which says how it ended and reaps it when we have closed it.

    If the zygote was killed first, so was the worker, and -9 is what it reports.
    """

    def __init__(
        self, pid: int, pidfd: int, channel: socket.socket, zygote: zygotes.ZygoteHandle
    ) -> None:
        self._channel = channel
        self._zygote: zygotes.ZygoteHandle | None = zygote
        super().__init__(pid, pidfd)

    def _wait(self, timeout: float | None) -> bool:
        # The zygote's end counts by itself: a program that was started while the channel was made
        # may hold a copy of its other end.
        assert self._zygote is not None
        return wire.wait_readable(self._channel.fileno(), timeout, self._zygote.pidfd)

    def _collect(self) -> int | None:
        # Asked first: what it has sent before its end is there then.
        assert self._zygote is not None
        lost = self._zygote.has_ended()
        try:
            # Left where it is, for all the threads that wait for it.
            report = wire.read_report(self._channel, socket.MSG_PEEK)
        except BlockingIOError:
            if not lost:
                return None
            report = None
        if report is not None and report.kind == wire.ENDED:
            return report.number
        # The kernel has the worker's death in hand already.
        wire.wait_readable(self.pidfd, None)
        return -signals.SIGKILL

    def _is_pinned(self) -> bool:
        return self._zygote is not None and not self._zygote.has_ended()

    def _release(self) -> None:
        self._channel.close()
        self._zygote = None

    _abandon = _release


class ForkedWorker(Worker):
    """A child of this process, a fork of it. It dies when nobody holds the other end of `life`."""

    def __init__(self, pid: int, life: int) -> None:
        self._life = life
        super().__init__(pid, kernel.pidfd_open(pid))

    def _wait(self, timeout: float | None) -> bool:
        return wire.wait_readable(self.pidfd, timeout)

    def _collect(self) -> int | None:
        return kernel.wait_for(self.pidfd, reap=False)

    def _is_pinned(self) -> bool:
        try:
            os.waitid(kernel.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _release(self) -> None:
        # Unlike a worker of the zygote it cannot go on: nobody would reap it.
        os.close(self._life)
        kernel.wait_for(self.pidfd, reap=True)

    def _abandon(self) -> None:
        os.close(self._life)
