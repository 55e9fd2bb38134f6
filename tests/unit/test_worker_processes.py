"""Worker processes: what they find when they start."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from counterpoint._worker import wire, zygotes
from tests.unit.workers import (
    WAIT,
    ask,
    told,
)

pytestmark = pytest.mark.usefixtures("stand_in")


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
    resource_tracker.ensure_running()
    with told(method, "say(1)" + WAIT) as other:
        assert other.hear() == 1
        links = ask(method, code)
    # The zygote's socket, other workers' descriptors and the payload would be among these.
    ours = {link for link in links if link.startswith(("pipe:", "socket:", "/memfd:"))}
    # A tracker of the standard library is meant to be shared.
    tracker = resource_tracker._resource_tracker._fd  # type: ignore[attr-defined]
    assert tracker is not None
    ours.remove(os.readlink(f"/proc/self/fd/{tracker}"))
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
