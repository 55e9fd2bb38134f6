"""A pool's processes, for programs that look at them: `executor._processes`."""

from __future__ import annotations

import signal

from counterpoint._worker.launch import Worker

__all__ = ["ProcessView"]

# How long the exit status of a process may take to be reported, after its end.
_REPORT = 5.0


class ProcessView:
    """A worker, with what programs use of a `multiprocessing.Process`.

    Its process is the pool's: it can be signalled, but not closed.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.pid = self.ident = worker.pid

    def __repr__(self) -> str:
        code = self.exitcode
        state = "started" if code is None else f"stopped exitcode={code}"
        return f"<{type(self).__name__} pid={self.pid} {state}>"

    @property
    def exitcode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs, or if it is not known."""
        return self._worker.exit_status_if_ended(_REPORT)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return not self._worker.has_ended(0)

    def join(self, timeout: float | None = None) -> None:
        """Waits for its end."""
        self._worker.has_ended(timeout)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._worker.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it, with what it has started."""
        self._worker.kill()
