"""The process that forks workers: its start, its end, and what it imports."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from counterpoint._worker import commands, wire
from counterpoint._worker.launch import Launcher, stop
from counterpoint._worker.spares import MOST
from counterpoint._worker.zygote import MOST_REFUSED
from tests.support import DEADLINE, eventually, result, spawn
from tests.unit.workers import (
    WAIT,
    ask,
    descriptors,
    is_alive,
    needs_death_signal,
    spares,
    stopped_zygote,
    told,
    zygote_pid,
)

pytestmark = pytest.mark.usefixtures("stand_in")


def test_one_zygote_serves_all_and_has_one_thread() -> None:
    parents = {ask("zygote", "say(os.getppid())"), ask("spawn", "say(os.getppid())")}
    assert parents == {zygote_pid()}
    assert len(os.listdir(f"/proc/{zygote_pid()}/task")) == 1


def test_a_start_is_eager_and_waits_for_nothing() -> None:
    Launcher().start()
    first = zygote_pid()
    assert ask("zygote", "say(os.getppid())") == first


class TestSpares:
    """Workers that are forked ahead."""

    def test_the_next_worker_is_one(self) -> None:
        names = {ask("zygote", "say((os.getpid(), open('/proc/self/comm').read()))")[1]}
        eventually(lambda: len(spares()) == MOST)
        ahead = spares()
        pid, name = ask("zygote", "say((os.getpid(), open('/proc/self/comm').read()))")
        assert pid in ahead
        assert {name} == names
        eventually(lambda: len(spares()) == MOST)

    def test_nobody_makes_any_for_new_interpreters(self) -> None:
        assert ask("spawn", "say(1)") == 1
        assert ask("spawn", "signal.sigtimedwait([], 0.1); say(1)") == 1
        assert not spares()

    def test_those_that_are_killed_are_replaced(self) -> None:
        assert ask("zygote", "say(1)") == 1
        for _ in range(20):
            eventually(spares)
            for pid in spares():
                os.kill(pid, signal.SIGKILL)
            # Whether or not the zygote has seen their end.
            assert ask("zygote", "say(os.getppid())") == zygote_pid()

    def test_one_that_is_killed_when_it_is_hired_is_replaced(self) -> None:
        assert ask("zygote", "say(1)") == 1
        eventually(lambda: len(spares()) == MOST)
        ahead = spares()
        for pid in ahead:
            os.kill(pid, signal.SIGSTOP)
        launch = Launcher(target="stand_in:serve").request([], b"status = 7")
        assert not wire.wait_readable(launch.ready, 0.2)
        for pid in ahead:
            os.kill(pid, signal.SIGKILL)
        worker = launch.worker(DEADLINE)
        assert worker.exit_status(DEADLINE) == 7 or worker.exit_status(DEADLINE) == 1
        worker.close()

    @needs_death_signal
    def test_they_end_with_the_zygote(self) -> None:
        assert ask("zygote", "say(1)") == 1
        eventually(lambda: len(spares()) == MOST)
        ahead = spares()
        os.kill(zygote_pid(), signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, ahead)))

    def test_they_have_what_was_preloaded_later(self, tmp_path: Path) -> None:
        (tmp_path / "late_one.py").write_text("import os\npid = os.getpid()")
        assert ask("zygote", "say(1)") == 1
        eventually(lambda: len(spares()) == MOST)
        Launcher().preload(["late_one"])
        code = "say('late_one' in sys.modules and sys.modules['late_one'].pid)"
        eventually(lambda: ask("zygote", code) == zygote_pid())
        eventually(lambda: len(spares()) == MOST)
        assert ask("zygote", code) == zygote_pid()


@needs_death_signal
def test_a_killed_zygote_takes_its_workers_and_is_replaced(method: str) -> None:
    with told(method, "say(1)" + WAIT) as worker:
        assert worker.hear() == 1
        killed = zygote_pid()
        os.kill(killed, signal.SIGKILL)
        assert worker.end() == -signal.SIGKILL
        assert not is_alive(worker.worker.pid)
        worker.worker.kill()
    assert ask(method, "say(os.getppid())") == zygote_pid() != killed


def test_a_zygote_that_dies_while_it_is_asked_is_replaced() -> None:
    reading, writing = os.pipe()
    assert ask("zygote", "say(1)") == 1
    with stopped_zygote() as pid:
        launch = Launcher(target="stand_in:serve").request([writing], b"say(os.getppid())")
        os.kill(pid, signal.SIGKILL)
        worker = launch.worker(DEADLINE)
    try:
        assert worker.exit_status(DEADLINE) == 0
        assert int(os.read(reading, 99)) == zygote_pid() != pid
    finally:
        worker.close()
        wire.close_all([reading, writing])


def test_a_zygote_that_always_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(*_: object) -> commands.Command:
        return commands.Command([sys.executable, "-c", "raise SystemExit(5)"], ())

    monkeypatch.setattr(commands, "command", bad)
    before = descriptors()
    with pytest.raises(ChildProcessError, match=r"ended with status 5 .* so did its replacement"):
        Launcher(target="stand_in:serve").launch([], b"")
    stop()
    assert descriptors() == before


def test_a_zygote_that_is_stopped_costs_the_time_limit_alone() -> None:
    reading, writing = os.pipe()
    launcher = Launcher(target="stand_in:serve")
    assert ask("zygote", "say(1)") == 1
    with stopped_zygote():
        with pytest.raises(TimeoutError):
            launcher.launch([writing], b"say('late')", timeout=0.05)
    os.close(writing)
    # The late worker has found that nobody waits for it: nothing holds the pipe any more.
    assert wire.wait_readable(reading, DEADLINE)
    assert os.read(reading, 99) == b""
    os.close(reading)


def test_a_cancelled_request_leaves_no_worker() -> None:
    reading, writing = os.pipe()
    launch = Launcher(target="stand_in:serve").request([writing], WAIT.encode())
    os.close(writing)
    assert wire.wait_readable(launch.ready, DEADLINE)
    launch.cancel()
    assert wire.wait_readable(reading, DEADLINE)
    assert os.read(reading, 99) == b""
    os.close(reading)


def test_a_zygote_without_room_for_descriptors_is_an_error_and_lives_on() -> None:
    assert ask("zygote", "say(1)") == 1
    pid = zygote_pid()
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (7, limits[1]))
    with pytest.raises(OSError, match=r"descriptors|Too many open files"):
        ask("zygote", "say(1)")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert ask("zygote", "say(os.getppid())") == pid


def test_threads_launch_at_once() -> None:
    def launch() -> int:
        return int(ask("zygote", "say(os.getpid())"))

    running = [spawn(launch) for _ in range(12)]
    assert len({result(each) for each in running}) == 12


def test_a_worker_outlives_the_thread_that_launched_it(method: str) -> None:
    reading, writing = os.pipe()
    launcher = Launcher(method, target="stand_in:serve")
    code = b"os.read(fds[0], 1)\nsay('still here')"
    worker = result(spawn(launcher.launch, [writing, reading], code))
    os.write(writing, b"x")
    assert worker.exit_status(DEADLINE) == 0
    worker.close()
    wire.close_all([reading, writing])


def test_no_descriptor_is_left(method: str) -> None:
    ask(method, "say(1)")
    stop()
    before = descriptors()
    for _ in range(3):
        ask(method, "say(1)")
        Launcher(method).preload(["json"])
    stop()
    assert descriptors() == before


# Preloading.


def test_modules_are_preloaded_that_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "good_one.py").write_text("import os\npid = os.getpid()")
    (tmp_path / "bad_one.py").write_text("raise ValueError('not today')")
    (tmp_path / "deadly_one.py").write_text("import os; os._exit(0)")
    (tmp_path / "threaded_one.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    (tmp_path / "good_too.py").write_text("import os\npid = os.getpid()")
    names = ["good_one", "bad_one", "threaded_one", "missing_one", "good_too"]
    Launcher().preload(names)

    def loaded() -> Any:
        return ask("zygote", f"say([n for n in {names} if n in sys.modules])")

    eventually(lambda: loaded() == ["good_one", "good_too"])
    pids = ask("zygote", "import good_one, good_too\nsay({good_one.pid, good_too.pid})")
    assert pids == {zygote_pid()}
    # Every zygote that follows imports them too.
    stop()
    eventually(lambda: loaded() == ["good_one", "good_too"])
    assert len(os.listdir(f"/proc/{zygote_pid()}/task")) == 1


def test_what_is_in_a_package_that_failed_is_not_tried(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    for package in ("hopeless", "hopeless_not"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "part.py").touch()
    (tmp_path / "hopeless" / "__init__.py").write_text(
        f"with open({str(tried)!r}, 'a') as file:\n    file.write('x')\nraise ImportError"
    )
    (tmp_path / "hopeless_not" / "__init__.py").touch()
    names = ["hopeless", "hopeless.part", "hopeless.part.inner", "hopeless_not.part"]
    Launcher().preload(names)

    def loaded() -> Any:
        return ask("zygote", f"say([n for n in {names} if n in sys.modules])")

    eventually(lambda: loaded() == ["hopeless_not.part"])
    assert tried.read_text() == "x"


def test_after_many_failures_nothing_more_is_tried(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    names = [f"useless_{number}" for number in range(MOST_REFUSED + 2)]
    for name in names:
        (tmp_path / f"{name}.py").write_text(
            f"with open({str(tried)!r}, 'a') as file:\n    file.write('x')\nraise ImportError"
        )
    Launcher().preload(names)
    ask("zygote", "say(1)")
    eventually(lambda: tried.exists() and len(tried.read_text()) == MOST_REFUSED)
    # While there is more to try no spare is made.
    eventually(spares)
    assert len(tried.read_text()) == MOST_REFUSED


def test_a_hanging_import_delays_no_launch(tmp_path: Path) -> None:
    (tmp_path / "hanging_one.py").write_text("import signal\nsignal.pause()")
    Launcher().preload(["hanging_one"])
    assert ask("zygote", "say('hanging_one' in sys.modules)") is False
    eventually(spares)
