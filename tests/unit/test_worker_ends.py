"""Worker processes: how they end, and what is reported of it."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from counterpoint._worker import kernel, wire
from tests.support import DEADLINE, eventually, result, spawn
from tests.unit.workers import (
    WAIT,
    exists,
    is_alive,
    told,
)

pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("status = 7", 7),
        ("sys.exit(3)", 3),
        ("sys.exit('why')", 1),
        ("os._exit(255)", 255),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("os.abort()", -6),
    ],
)
def test_the_status_is_exact(method: str, code: str, status: int) -> None:
    with told(method, code) as worker:
        assert worker.end() == status
        assert worker.worker.exit_status(0) == status


def test_a_status_is_awaited_only_so_long(method: str) -> None:
    with told(method, "say(1)" + WAIT) as worker:
        assert worker.hear() == 1
        assert worker.worker.exit_status(0) is None
        assert worker.worker.exit_status(0.01) is None
        assert worker.worker.kill()
        assert worker.end() == -signal.SIGKILL


def test_the_pidfd_is_readable_at_the_end(method: str) -> None:
    with told(method, "say(1)" + WAIT) as worker:
        assert worker.hear() == 1
        assert not wire.wait_readable(worker.worker.pidfd, 0)
        assert worker.worker.send_signal(signal.SIGTERM)
        assert wire.wait_readable(worker.worker.pidfd, DEADLINE)
        assert worker.end() == -signal.SIGTERM


def test_many_threads_learn_of_the_end() -> None:
    with told("zygote", "say(1)" + WAIT) as worker:
        assert worker.hear() == 1
        waiting = [spawn(worker.worker.exit_status, DEADLINE) for _ in range(8)]
        worker.worker.kill()
        assert {result(each) for each in waiting} == {-signal.SIGKILL}


def test_the_number_stays_taken_until_closed(method: str) -> None:
    with told(method, "say(1)") as worker:
        assert worker.end() == 0
        assert exists(worker.worker.pid)
        assert not is_alive(worker.worker.pid)
        worker.worker.close()
        eventually(lambda: not exists(worker.worker.pid))
        assert not worker.worker.kill()
        assert not worker.worker.send_signal(0)


def test_a_closed_worker_runs_on_and_is_reaped(method: str) -> None:
    with told(method, "say(1)\nsys.stdin.read()" + WAIT) as worker:
        assert worker.hear() == 1
        pid = worker.worker.pid
        worker.worker.close()
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not exists(pid))


def test_killing_takes_what_it_started(method: str) -> None:
    code = "import subprocess\nsay(subprocess.Popen(['sleep', '600']).pid)" + WAIT
    with told(method, code) as worker:
        grandchild = worker.hear()
        worker.worker.send_signal(signal.SIGKILL)
        assert worker.end() == -signal.SIGKILL
        assert is_alive(grandchild)
        assert worker.worker.kill()
        eventually(lambda: not is_alive(grandchild))


def test_killing_by_number_where_the_kernel_knows_no_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = kernel.pidfd_send_signal

    def old(pidfd: int, number: int, flags: int = 0) -> None:
        if flags:
            raise OSError(errno.EINVAL, "no such flag")
        real(pidfd, number)

    monkeypatch.setattr(kernel, "pidfd_send_signal", old)
    code = "import subprocess\nsay(subprocess.Popen(['sleep', '600']).pid)" + WAIT
    with told("zygote", code) as worker:
        grandchild = worker.hear()
        assert worker.worker.kill()
        assert worker.end() == -signal.SIGKILL
        eventually(lambda: not is_alive(grandchild))


def test_a_worker_that_left_its_group_is_killed() -> None:
    code = "os.setpgid(0, os.getpgid(os.getppid()))\nsay(1)" + WAIT
    with told("zygote", code) as worker:
        assert worker.hear() == 1
        assert worker.worker.kill()
        assert worker.end() == -signal.SIGKILL


def test_exit_handlers_and_finalizers_run(method: str) -> None:
    code = """
import atexit, multiprocessing.util
atexit.register(say, 'atexit ')
multiprocessing.util.Finalize(None, say, ['finalizer '], exitpriority=1)
thread = threading.Thread(target=lambda: say('thread '))
thread.start()
"""
    with told(method, code) as worker:
        assert worker.end() == 0
        said = os.read(worker.pipe, 100)
        assert all(each in said for each in (b"atexit", b"finalizer", b"thread"))
