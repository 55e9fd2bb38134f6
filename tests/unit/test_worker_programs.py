"""Programs that start workers: what is `__main__`, and who dies with whom."""

from __future__ import annotations

import json
import os
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

from counterpoint._worker import wire
from counterpoint._worker.launch import Launcher
from tests.support import eventually
from tests.unit.programs import environment, run
from tests.unit.workers import (
    STAND_IN,
    WAIT,
    is_alive,
)

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

pytestmark = pytest.mark.usefixtures("stand_in")


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
