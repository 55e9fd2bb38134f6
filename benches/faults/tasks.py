"""What the workers of every pool are made to run."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any


class Odd(Exception):
    """What the faulty raise."""

    def __init__(self, first: str, second: str = "") -> None:
        super().__init__(first)


class OnlyThere(Exception):
    """Made of two arguments, and pickled with one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def raise_plain(*_: Any) -> None:
    raise Odd("on purpose")


def hang_once(*_: Any) -> None:
    """In the first process that gets here; in no other."""
    try:
        Path(os.environ["COUNTERPOINT_DIRECTORY"], "hangs").touch(exist_ok=False)
    except FileExistsError:
        return
    time.sleep(1000)


def raise_odd() -> None:
    raise OnlyThere("made", "there")


def die(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


class DiesWhenUnpickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return die, ()


class ExitsWhenUnpickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (5,)


class RaisesWhenPickled:
    def __reduce__(self) -> tuple[Any, ...]:
        raise Odd("on the way out")


class RaisesWhenUnpickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return raise_plain, ()


def make(kind: type) -> Any:
    return kind()


def big_and_dies() -> bytes:
    """Returns a big result, and dies about when it is sent."""
    result = bytes(200 << 20)
    threading.Timer(0.03, die).start()
    return result


def devour(group: str) -> None:
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    kept = []
    while True:
        kept.append(bytearray(b"x") * (16 << 20))


def segfault() -> None:
    import ctypes

    ctypes.string_at(0)


def touch(path: str) -> None:
    time.sleep(0.01)
    Path(path).touch()


def leave_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(1000,), daemon=False).start()


def leave_a_child() -> int:
    # With no pipe of the parent's, or whoever reads from it would wait.
    null = subprocess.DEVNULL
    return subprocess.Popen(["sleep", "1000"], stdin=null, stdout=null, stderr=null).pid


def numbered(number: int) -> int:
    """Notes in which process it ran."""
    directory = os.environ["COUNTERPOINT_DIRECTORY"]
    Path(directory, f"pid{os.getpid()}").touch()
    end = time.perf_counter() + 0.0005
    while time.perf_counter() < end:
        pass
    return number


def workers() -> list[int]:
    """The processes that have run a task and are alive."""
    found = []
    for path in Path(os.environ["COUNTERPOINT_DIRECTORY"]).glob("pid*"):
        pid = int(path.name[3:])
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found
