"""Worker processes: how they are started, what they find, and how they and their zygote end."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from counterpoint import _core
from counterpoint._worker import commands, kernel, wire, zygotes
from counterpoint._worker.launch import Launcher, Worker, stop
from tests.support import DEADLINE, eventually, result, spawn
from tests.unit.programs import environment, run

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


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the path that holds the stand-in; no zygote is left in the end."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert stop(DEADLINE)


@pytest.fixture(params=["zygote", "spawn"])
def method(request: pytest.FixtureRequest) -> str:
    """The methods that do not fork this process; the third is tested in programs of one thread."""
    return str(request.param)


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
    zygote = zygotes.ensure()
    return zygote.pid


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# How a worker ends.


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


# What a worker finds.


def test_descriptors_and_config_arrive_in_order(method: str) -> None:
    pipes = [os.pipe() for _ in range(3)]
    code = "for fd, text in zip(fds, [b'a', b'b', b'c']): os.write(fd, text)\nsay(len(fds))"
    with told(method, code, *(writing for _, writing in pipes)) as worker:
        assert worker.hear() == 3
        assert [os.read(reading, 9) for reading, _ in pipes] == [b"a", b"b", b"c"]
    for pipe in pipes:
        wire.close_all(pipe)


def test_nothing_but_its_own_descriptors_is_open(method: str) -> None:
    code = """
links = []
for fd in range(3, 40):
    try:
        links.append(os.readlink(f"/proc/self/fd/{fd}"))
    except FileNotFoundError:
        pass
say(links)
"""
    with told(method, "say(1)" + WAIT) as other:
        assert other.hear() == 1
        links = ask(method, code)
    # The zygote's socket, other workers' descriptors and the payload would be among these.
    ours = [link for link in links if link.startswith(("pipe:", "socket:", "/memfd:"))]
    assert len(ours) == 1, links
    # Of the parent, for `multiprocessing.parent_process()`.
    assert sum("pidfd" in link for link in links) == 1, links


def test_none_of_its_descriptors_survives_an_exec(method: str) -> None:
    code = "say([n for n in range(3, 40) if n != out and _open(n) and os.get_inheritable(n)])"
    helper = (
        "def _open(n):\n    try: os.fstat(n)\n    except OSError: return False\n    return True\n"
    )
    assert ask(method, f"{helper}globals()['_open'] = _open\n{code}\nsay") == []


def test_signals_groups_and_input(method: str) -> None:
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        found = ask(
            method,
            "say((os.getpgid(0) == os.getpid(), signal.getsignal(signal.SIGINT).name,"
            "signal.getsignal(signal.SIGCHLD).name, signal.pthread_sigmask(0, ()),"
            "os.readlink('/proc/self/fd/0'), sys.stdin.read()))",
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    assert found == (True, "SIG_IGN", "SIG_DFL", set(), "/dev/null", "")


def test_it_is_a_child_of_multiprocessing(method: str) -> None:
    code = """
import multiprocessing as m
say((m.current_process().name, m.current_process().pid == os.getpid(), m.parent_process().pid,
     m.parent_process().name, m.parent_process().is_alive(), m.current_process().daemon,
     bytes(m.current_process().authkey)))
"""
    import multiprocessing

    with told(method, code, name="Nicely-Named") as worker:
        assert worker.hear() == (
            "Nicely-Named",
            True,
            os.getpid(),
            multiprocessing.current_process().name,
            True,
            False,
            bytes(multiprocessing.current_process().authkey),
        )


def test_it_can_start_processes_of_its_own(method: str) -> None:
    code = """
import multiprocessing
context = multiprocessing.get_context('fork')
process = context.Process(target=say, args=('child',))
process.start()
process.join()
assert process.exitcode == 0
"""
    assert ask(method, code) == "child"


def test_environment_path_and_directory_are_those_of_the_launch(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COUNTERPOINT_TEST_GONE", "1")
    assert ask(method, "say(os.environ['COUNTERPOINT_TEST_GONE'])") == "1"
    late = tmp_path / "late" / "deep"
    monkeypatch.delenv("COUNTERPOINT_TEST_GONE")
    monkeypatch.setenv("COUNTERPOINT_TEST_NEW", "caf\udce9")
    monkeypatch.syspath_prepend(late)
    late.mkdir(parents=True)
    (late / "brand_new.py").write_text("value = 5")
    monkeypatch.chdir(late)
    found = ask(
        method,
        "import brand_new\n"
        "say(('COUNTERPOINT_TEST_GONE' in os.environ, os.environ['COUNTERPOINT_TEST_NEW'],"
        "os.getcwd(), sys.path, brand_new.value))",
    )
    assert found == (False, "caf\udce9", str(late), sys.path, 5)


def test_output_is_that_of_the_launch(method: str, tmp_path: Path) -> None:
    zygotes.ensure()
    with open(tmp_path / "output", "w+") as file:
        saved = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            assert ask(method, "print('printed')\nsay(1)") == 1
        finally:
            os.dup2(saved, 1)
            os.close(saved)
        file.seek(0)
        assert file.read() == "printed\n"


def test_a_running_resource_tracker_is_shared(method: str) -> None:
    from multiprocessing import resource_tracker

    tracker = resource_tracker._resource_tracker
    resource_tracker.ensure_running()
    try:
        code = "from multiprocessing import resource_tracker as t\nt.ensure_running()\n"
        code += "say((os.fstat(t.getfd()).st_ino, t._resource_tracker._pid))"
        assert ask(method, code) == (os.fstat(tracker.getfd()).st_ino, None)
    finally:
        tracker._stop()  # type: ignore[attr-defined]


# The zygote.


def test_one_zygote_serves_all_and_has_one_thread() -> None:
    parents = {ask("zygote", "say(os.getppid())"), ask("spawn", "say(os.getppid())")}
    assert parents == {zygote_pid()}
    assert len(os.listdir(f"/proc/{zygote_pid()}/task")) == 1


def test_a_start_is_eager_and_waits_for_nothing() -> None:
    Launcher().start()
    first = zygote_pid()
    assert ask("zygote", "say(os.getppid())") == first


@contextmanager
def stopped_zygote() -> Iterator[int]:
    """A zygote that reads nothing for now."""
    assert ask("zygote", "say(1)") == 1
    pid = zygote_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


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


def test_a_hanging_import_delays_no_launch(tmp_path: Path) -> None:
    (tmp_path / "hanging_one.py").write_text("import signal\nsignal.pause()")
    Launcher().preload(["hanging_one"])
    assert ask("zygote", "say('hanging_one' in sys.modules)") is False


# Programs: what is `__main__`, and who dies with whom.

PRELUDE = """
import json, os, signal, subprocess, sys, threading, time
from counterpoint._worker.launch import Launcher, stop
from counterpoint._worker import wire, zygotes

def launch(code, method="zygote"):
    reading, writing = map(wire.above, os.pipe())
    worker = Launcher(method, target="stand_in:serve").launch([writing], code.encode())
    os.close(writing)
    return worker, reading

def hear(reading):
    assert wire.wait_readable(reading, 30)
    return eval(os.read(reading, 65536))
"""

METHODS = ["zygote", "spawn", "fork"]


def program(path: Path, code: str, *flags: str, **changes: str) -> str:
    """What a program prints that has to end well and silently."""
    (path / "program.py").write_text(PRELUDE + code)
    command = [sys.executable, "-W", "error", *flags, "program.py"]
    done = run(command, path, env=environment(**changes))
    assert (done.code, done.err) == (0, ""), done
    return done.out


@pytest.mark.parametrize("method", METHODS)
def test_statuses_signals_and_children_of_a_program(stand_in: Path, method: str) -> None:
    program(
        stand_in,
        f"""
if __name__ == "__main__":
    before = len(os.listdir("/proc/self/fd"))
    got = []
    signal.signal(signal.SIGCHLD, lambda *_: got.append(1))
    for code, status in (("status = 7", 7), ("os.kill(os.getpid(), 9)", -9), ("sys.exit(2)", 2)):
        worker, reading = launch(code, {method!r})
        assert worker.exit_status(30) == status, (worker, status)
        assert os.path.exists(f"/proc/{{worker.pid}}")
        worker.close()
        os.close(reading)
    # A child of this process says so to its handlers; the zygote's say nothing.
    assert len(got) == (3 if {method!r} == "fork" else 0), got
    worker, reading = launch("say(1)" + {WAIT!r}, {method!r})
    hear(reading)
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)
    assert worker.kill()
    assert worker.exit_status(30) == -9
    worker.close()
    os.close(reading)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    assert stop(30)
    assert len(os.listdir("/proc/self/fd")) == before
    try:
        os.wait()
    except ChildProcessError:
        pass
    else:
        raise AssertionError("a child was left")
""",
    )


def test_ignoring_the_end_of_children_loses_no_status(stand_in: Path) -> None:
    program(
        stand_in,
        """
if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for method in ("zygote", "spawn"):
        worker, _ = launch("import subprocess\\nstatus = subprocess.call(['false']) + 6", method)
        assert worker.exit_status(30) == 7, worker
""",
    )


MAIN = """
def greet():
    return "hello from " + __name__

print(f"imported as {__name__}", flush=True)
if __name__ == "__main__":
    for method in ("zygote", "spawn"):
        worker, reading = launch("import __main__\\nsay((__main__.greet(), sys.argv[1:]))", method)
        print(*hear(reading), worker.exit_status(30))
"""

MAIN_SAYS = """imported as __main__
imported as __mp_main__
hello from __mp_main__ ['one'] 0
imported as __mp_main__
hello from __mp_main__ ['one'] 0
"""


def test_a_script_is_imported_again(stand_in: Path) -> None:
    (stand_in / "script.py").write_text(PRELUDE + MAIN)
    done = run([sys.executable, "-W", "error", "script.py", "one"], stand_in)
    assert done == (0, MAIN_SAYS, "")


def test_a_module_is_imported_again(stand_in: Path) -> None:
    (stand_in / "package").mkdir()
    (stand_in / "package" / "__init__.py").write_text("")
    (stand_in / "package" / "tool.py").write_text("from . import __name__ as n\n" + PRELUDE + MAIN)
    done = run([sys.executable, "-W", "error", "-m", "package.tool", "one"], stand_in)
    assert done == (0, MAIN_SAYS, "")


NO_MAIN = (
    PRELUDE
    + """
for method in ("zygote", "spawn"):
    code = "say((sys.modules['__main__'].__name__, 'launch' in vars(sys.modules['__main__'])))"
    worker, reading = launch(code, method)
    print(*hear(reading), worker.exit_status(30))
"""
)

NO_MAIN_SAYS = "__main__ False 0\n" * 2


def test_a_command_is_not_run_again(stand_in: Path) -> None:
    done = run([sys.executable, "-W", "error", "-c", NO_MAIN], stand_in)
    assert done == (0, NO_MAIN_SAYS, "")


def test_what_is_typed_is_not_run_again(stand_in: Path) -> None:
    done = run([sys.executable, "-W", "error", "-"], stand_in, stdin=NO_MAIN)
    assert done == (0, NO_MAIN_SAYS, "")


def test_an_archive_is_not_run_again(stand_in: Path) -> None:
    with zipfile.ZipFile(stand_in / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", NO_MAIN)
        archive.writestr("stand_in.py", STAND_IN)
    os.remove(stand_in / "stand_in.py")
    done = run([sys.executable, "-W", "error", "archive.zip"], stand_in)
    assert done == (0, NO_MAIN_SAYS, "")


def test_a_frozen_program_goes_on_in_freeze_support(stand_in: Path) -> None:
    frozen = stand_in / "frozen"
    text = (
        PRELUDE
        + """
sys.frozen, sys.executable = True, os.path.abspath(__file__)
if __name__ == "__main__":
    import multiprocessing, multiprocessing.spawn
    # What those who freeze programs put in the place of the original, which is for Windows.
    multiprocessing.spawn.freeze_support()
    for method in ("zygote", "spawn"):
        worker, reading = launch("say(sys.executable)", method)
        print(hear(reading) == sys.executable, worker.exit_status(30))
"""
    )
    frozen.write_text(f"#!{sys.executable}\n{text}")
    frozen.chmod(0o700)
    assert run([str(frozen)], stand_in) == (0, "True 0\n" * 2, "")


@pytest.mark.parametrize("method", ["zygote", "spawn"])
def test_a_program_without_the_idiom_is_told(stand_in: Path, method: str) -> None:
    code = f"""
worker, reading = launch("say(1)", {method!r})
sys.exit(worker.exit_status(30))
"""
    (stand_in / "program.py").write_text(PRELUDE + code)
    done = run([sys.executable, "program.py"], stand_in)
    assert done.code == 1
    assert "freeze_support" in done.err
    assert done.err.count("Traceback") == 1


@pytest.mark.parametrize("method", ["zygote", "spawn"])
def test_flags_reach_the_worker(stand_in: Path, method: str) -> None:
    out = program(
        stand_in,
        f"""
if __name__ == "__main__":
    code = "import warnings; say((sys.warnoptions, sys.flags.dev_mode, sys.flags.optimize))"
    worker, reading = launch(code, {method!r})
    print(hear(reading) == (sys.warnoptions, sys.flags.dev_mode, sys.flags.optimize),
          sys.warnoptions[-1], sys.flags.dev_mode)
""",
        *("-X", "dev", "-O", "-W", "ignore::ImportWarning"),
    )
    assert out == "True ignore::ImportWarning True\n"


def test_modules_of_the_working_directory_do_not_shadow_the_stdlib(stand_in: Path) -> None:
    (stand_in / "elsewhere").mkdir()
    (stand_in / "elsewhere" / "socket.py").write_text("raise SystemExit('the wrong socket')")
    program(
        stand_in,
        """
if __name__ == "__main__":
    os.chdir("elsewhere")
    for method in ("zygote", "spawn"):
        worker, _ = launch("status = 4", method)
        assert worker.exit_status(30) == 4
""",
    )


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_standard_streams_may_be_closed(stand_in: Path, closed: tuple[int, ...]) -> None:
    program(
        stand_in,
        f"""
if __name__ == "__main__":
    for fd in {closed}:
        os.close(fd)
    for method in ("zygote", "spawn"):
        worker, reading = launch("print('x', flush=True)\\nstatus = 4", method)
        if worker.exit_status(30) != 4:
            os._exit(9)
    os._exit(0)
""",
    )


def test_an_interpreter_with_threads_forks_no_warm_workers(stand_in: Path) -> None:
    # Set up so, an interpreter has a second thread before it has run anything of ours.
    (stand_in / "sitecustomize.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    program(
        stand_in,
        """
if __name__ == "__main__":
    worker, reading = launch("say(sys.orig_argv[-1].startswith('import sys; '))")
    assert hear(reading) is True
    assert worker.exit_status(30) == 0
    os._exit(0)
""",
        PYTHONPATH=str(stand_in),
    )


FAMILY = """
if __name__ == "__main__":
    workers = [
        launch("import subprocess\\nsay((os.getpid(), subprocess.Popen(['sleep', '600']).pid))"
               + WAIT, method)
        for method in METHODS
    ]
    pids = [pid for _, reading in workers for pid in hear(reading)]
    zygote = zygotes.current()
    pids = [*pids, zygote.pid] if zygote else pids
    print(json.dumps(pids), flush=True)
    END
"""


@contextmanager
def family(path: Path, methods: list[str], end: str) -> Iterator[tuple[Any, list[int]]]:
    """A program with workers that have children, and the numbers of all its processes."""
    code = FAMILY.replace("WAIT", repr(WAIT)).replace("METHODS", repr(methods)).replace("END", end)
    (path / "program.py").write_text(PRELUDE + code)
    with subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=path,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        try:
            assert parent.stdout is not None
            yield parent, json.loads(parent.stdout.readline())
        finally:
            parent.kill()


def none_is_alive(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(map(is_alive, pids))


END_OF_PARENT = {
    "killed": "signal.pause()",
    "left": "sys.stdin.read(); os._exit(0)",
    "ended": "sys.stdin.read()",
    "replaced": "sys.stdin.read(); os.execvp('sleep', ['sleep', '600'])",
}


@pytest.mark.parametrize("end", END_OF_PARENT)
def test_all_die_with_the_parent(stand_in: Path, end: str) -> None:
    with family(stand_in, ["zygote", "spawn"], END_OF_PARENT[end]) as (parent, pids):
        assert all(map(is_alive, pids))
        parent.kill() if end == "killed" else parent.stdin.close()
        eventually(none_is_alive(pids))


def test_forks_of_the_parent_die_with_it(stand_in: Path) -> None:
    with family(stand_in, ["fork"], "signal.pause()") as (parent, pids):
        parent.kill()
        eventually(none_is_alive([pids[0]]))
        os.kill(pids[1], signal.SIGKILL)


def test_a_fork_of_the_parent_keeps_nothing_alive_and_can_launch(stand_in: Path) -> None:
    end = """
    theirs = len(os.listdir("/proc/self/fd"))
    child = os.fork()
    if child == 0:
        for worker, _ in workers:
            assert not worker.kill()
            assert worker.exit_status(0) is None
        assert zygotes.current() is None
        # Those of the zygote (2) and, for each worker of it, 2; for the fork, 2.
        assert len(os.listdir("/proc/self/fd")) == theirs - 2 - 2 * 3, "descriptors are left"
        for method in ("zygote", "spawn", "fork"):
            own, reading = launch("status = 4", method)
            assert own.exit_status(30) == 4
        print(os.getpid(), zygotes.current().pid, flush=True)
    signal.pause()
"""
    with family(stand_in, METHODS, end.strip()) as (parent, pids):
        child, zygote = map(int, parent.stdout.readline().split())
        assert all(map(is_alive, pids))
        parent.kill()
        forked = pids.pop(5)
        eventually(none_is_alive(pids))
        assert is_alive(child)
        assert is_alive(zygote)
        os.kill(child, signal.SIGKILL)
        eventually(none_is_alive([child, zygote]))
        os.kill(forked, signal.SIGKILL)


def test_ctrl_c_does_not_reach_the_workers(stand_in: Path) -> None:
    end = "sys.stdin.readline(); print(all(w.exit_status(0) is None for w, _ in workers))"
    with family(stand_in, METHODS, end) as (parent, pids):
        for pid in pids[0], pids[2], pids[4], pids[-1]:
            os.kill(pid, signal.SIGINT)
        parent.stdin.close()
        assert parent.stdout.readline() == b"True\n"
        os.kill(pids[5], signal.SIGKILL)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="'forkserver'; use one of"):
        Launcher("forkserver")
    with pytest.raises(ValueError, match="use launch"):
        Launcher("fork").request([], b"")


def test_reports_are_whole_or_absent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(BlockingIOError):
            wire.read_report(ours)
        assert wire.report(theirs, wire.ENDED, -9)
        assert wire.read_report(ours) == (wire.ENDED, -9, -1)
        theirs.close()
        assert wire.read_report(ours) is None
        assert not wire.report(ours, wire.BORN, 1)


def test_waiting_has_its_deadline() -> None:
    reading, writing = os.pipe()
    assert not wire.wait_readable(reading, 0)
    assert not wire.wait_readable(reading, 0.001)
    os.close(writing)
    assert wire.wait_readable(reading, None)
    os.close(reading)
