"""`counterpoint run` is plain Python to the program: output, errors and exit are compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.unit import programs

SHOW = """
import atexit, os, sys
import __main__
print(sys.argv, sys.path, sys.flags, sys.orig_argv[1:], sys.warnoptions, sys._xoptions)
print(__name__, __file__, __spec__, __package__, __doc__, globals().get("__cached__"))
print(type(__loader__), type(__builtins__), sorted(vars(__main__)))
print(__main__ is sys.modules["__main__"], "sitecustomize" in sys.modules)
print(sorted(os.environ.items()), sys.excepthook is sys.__excepthook__)
print(sys.getrecursionlimit(), sys._getframe().f_back, sys.stdin.isatty(), os.getcwd())
import threading
print([(t.name, t.daemon) for t in threading.enumerate()], sys.gettrace(), sys.getprofile())
"""

PROGRAMS = {
    "shows itself": SHOW,
    "reads stdin": "import sys; print(sys.stdin.read().upper()); print(input)",
    "returns": "print('end')",
    "exits with a code": "import sys; sys.exit(3)",
    "exits with a text": "import sys; sys.exit('because')",
    "exits with nothing": "import sys; sys.exit()",
    "exits with an object": "raise SystemExit([1, 2])",
    "exits at once": "import os; print('lost'); os._exit(7)",
    "raises": "def f(x):\n    return 1 / x\n\nf(0)\n",
    "raises in a chain": (
        "try:\n    {}['a']\nexcept KeyError as e:\n    try:\n        int('x')\n"
        "    except ValueError:\n        raise RuntimeError('both') from e\n"
    ),
    "raises a group": "raise ExceptionGroup('many', [ValueError(1), KeyError('k')])",
    "has a syntax error": "print(1)\ndef f(:\n    pass\n",
    "has a bad encoding": "# coding: nonsense\nprint(1)\n",
    "has a null byte": "print(1)\0\n",
    "recurses": (
        "import sys\ndef f(n):\n    return f(n + 1) if n < 10**6 else n\n"
        "try:\n    f(0)\nexcept RecursionError as e:\n"
        "    depth, tb = 0, e.__traceback__\n    while tb: depth, tb = depth + 1, tb.tb_next\n"
        "    print(depth)\n"
    ),
    "raises in a thread": (
        "import threading\ndef f():\n    raise ValueError('in a thread')\n"
        "t = threading.Thread(target=f, name='T')\nt.start()\nt.join()\n"
    ),
    "exits in a thread": (
        "import sys, threading\nt = threading.Thread(target=sys.exit)\nt.start()\nt.join()\n"
    ),
    "raises at exit": "import atexit\n@atexit.register\ndef f():\n    raise ValueError('at')\n",
    "raises in a finaliser": "class A:\n    def __del__(self):\n        1 / 0\nA()\nprint('on')\n",
    "has its own hook": (
        "import sys, traceback\ndef hook(t, e, tb):\n    print(len(traceback.extract_tb(tb)), e)\n"
        "sys.excepthook = hook\nraise ValueError('hooked')\n"
    ),
    "warns": "import warnings\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('look')\n",
    "inspects its stack": "import inspect\nprint([f.filename for f in inspect.stack()])\n",
    "pickles its classes": (
        "import pickle\nclass A:\n    x = 1\nprint(pickle.loads(pickle.dumps(A)).x, A.__module__)\n"
    ),
    "leaves a thread running": (
        "import threading\ngo = threading.Event()\n"
        "threading.Thread(target=lambda: (go.wait(), print('last'))).start()\n"
        "import atexit\natexit.register(print, 'atexit')\nprint('main ends')\ngo.set()\n"
    ),
    "leaves a daemon waiting": (
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\nprint('ends')\n"
    ),
    "closes stderr": "import sys\nsys.stderr.close()\nprint('quiet')\n",
    "sets stderr to None": "import sys\nsys.stderr = sys.__stderr__ = None\nprint('quiet')\n",
    "fails to import": "import no_such_module_anywhere\n",
}


def assert_same(
    tmp_path: Path, arguments: list[str], stdin: str = "", env: dict[str, str] | None = None
) -> programs.Ended:
    """Run under both and compare everything; returns how the plain one ended."""
    plain = programs.run([*programs.PYTHON, *arguments], tmp_path, stdin, env)
    ours = programs.run([*programs.QUIET, *arguments], tmp_path, stdin, env)
    assert _without_addresses(ours) == _without_addresses(plain)
    return plain


def _without_addresses(ended: programs.Ended) -> programs.Ended:
    out, err = (re.sub("0x[0-9a-f]+", "0x…", text) for text in (ended.out, ended.err))
    return programs.Ended(ended.code, out, err)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_script_cannot_tell(name: str, tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(PROGRAMS[name])
    assert_same(tmp_path, ["prog.py", "a", "--summary=json", "-m"], stdin="some\ninput\n")


@pytest.mark.parametrize("name", ["shows itself", "raises", "has a syntax error"])
@pytest.mark.parametrize(
    "way", ["-m mod", "-m pkg", "-m pkg.sub", "dir", "app.zip", "-", "-c", "link"]
)
def test_every_way_to_name_a_program(name: str, way: str, tmp_path: Path) -> None:
    source = PROGRAMS[name]
    stdin, arguments = "", way.split()
    for file in ("mod.py", "pkg/__main__.py", "pkg/sub.py", "dir/__main__.py", "far/real.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(source)
    (tmp_path / "pkg/__init__.py").write_text("")
    (tmp_path / "link").symlink_to("far/real.py")
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", source)
    if name == "shows itself" and way in ("-", "-c"):
        source = source.replace("__file__", "globals().get('__file__')")
    if way == "-":
        stdin = source
    elif way == "-c":
        arguments.append(source)
    assert_same(tmp_path, [*arguments, "x", "-y"], stdin)


@pytest.mark.parametrize(
    "arguments",
    [["missing.py"], ["-m", "missing"], ["-m", "empty"], ["-m", "empty.missing"], ["empty"]],
    ids=" ".join,
)
def test_what_is_not_there(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/__init__.py").write_text("")
    assert assert_same(tmp_path, arguments).code in (1, 2)


def test_pythonpath_and_the_users_sitecustomize_are_kept(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    # It runs in every interpreter that starts, so also in the one that becomes the program.
    (tmp_path / "lib/sitecustomize.py").write_text("import sys; sys.mine = __name__, __file__")
    (tmp_path / "prog.py").write_text(SHOW + "print(sys.mine)")
    env = programs.environment(PYTHONPATH=f"{tmp_path / 'lib'}{os.pathsep}relative")
    assert "'sitecustomize'" in assert_same(tmp_path, ["prog.py"], env=env).out


@pytest.mark.parametrize("name", ["queue", "logging", "weakref"])
def test_a_module_beside_the_program_comes_first(name: str, tmp_path: Path) -> None:
    directory = tmp_path / "program"  # not the current one, from where -m would take the module too
    directory.mkdir()
    (directory / f"{name}.py").write_text("here = True")
    (directory / "prog.py").write_text(f"import {name}\nprint(getattr({name}, 'here', False))")
    assert_same(tmp_path, ["program/prog.py"])


def test_a_plain_directory_beside_the_program_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "logging").mkdir()
    prog = "import logging, concurrent.futures._base as b\nprint(b.logging is logging)"
    (tmp_path / "prog.py").write_text(prog)
    assert assert_same(tmp_path, ["prog.py"]).out == "True\n"


SPAWN = """
import multiprocessing, queue, threading

class Item:
    pass

def work(item):
    return type(item).__name__, queue.Queue.__module__

if __name__ == "__main__":
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        print(pool.map(work, [Item(), Item()])[0][0])
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing_finds_main_and_prints_one_summary(method: str, tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(SPAWN.format(method=method))
    assert_same(tmp_path, ["prog.py"])
    ended = programs.run([*programs.RUN, "prog.py"], tmp_path)
    assert ended.out == "Item\n"
    assert ended.err.count("counterpoint run prog.py") == 1


WAITS = """
import os, signal, sys, threading
print("ready", flush=True)
{wait}
"""
WAYS_TO_WAIT = {
    "pause": "signal.pause()",
    "lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "event": "threading.Event().wait()",
    "queue": "import queue; queue.Queue().get()",
}


def _wait_until_it_waits(pid: int) -> None:
    """Return when the main thread is blocked in the kernel (or the process has ended)."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state in "SZ":
            return
        os.sched_yield()
    raise TimeoutError("the program never waited")


def signalled(
    command: tuple[str, ...], cwd: Path, number: int, ignore: bool = False
) -> programs.Ended:
    """Start a program, signal it once it says `ready`, and see how it ends."""
    process = subprocess.Popen(
        [*command, "prog.py"],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=programs.environment(),
        # A shell's background job would hand an ignored SIGINT down.
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN if ignore else signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    _wait_until_it_waits(process.pid)
    process.send_signal(number)
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        out, err = process.stdout.read(), process.stderr.read()
        return programs.Ended(process.wait(30), out, err)


@pytest.mark.parametrize("wait", WAYS_TO_WAIT)
def test_ctrl_c_is_a_keyboard_interrupt_and_then_a_death_by_signal(
    wait: str, tmp_path: Path
) -> None:
    (tmp_path / "prog.py").write_text(WAITS.format(wait=WAYS_TO_WAIT[wait]))
    ours = signalled(programs.QUIET, tmp_path, signal.SIGINT)
    assert ours.code == -signal.SIGINT
    assert ours.err.startswith("Traceback (most recent call last):\n")
    assert ours.err.endswith("\nKeyboardInterrupt\n")
    assert "counterpoint" not in ours.err
    if wait == "pause":
        assert ours == signalled(programs.PYTHON, tmp_path, signal.SIGINT)


def test_ctrl_c_prints_the_summary_after_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(WAITS.format(wait=WAYS_TO_WAIT["queue"]))
    ended = signalled(programs.RUN, tmp_path, signal.SIGINT)
    assert ended.code == -signal.SIGINT
    assert ended.err.index("KeyboardInterrupt") < ended.err.index("counterpoint run prog.py")


def test_a_caught_ctrl_c_is_the_programs(tmp_path: Path) -> None:
    wait = "try: threading.Event().wait()\nexcept KeyboardInterrupt: sys.exit(5)"
    (tmp_path / "prog.py").write_text(WAITS.format(wait=wait))
    assert signalled(programs.QUIET, tmp_path, signal.SIGINT) == (5, "", "")


def test_other_signals_have_their_default(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(WAITS.format(wait=WAYS_TO_WAIT["pause"]))
    assert signalled(programs.RUN, tmp_path, signal.SIGTERM) == (-signal.SIGTERM, "", "")
    show = "print([(s, signal.getsignal(s)) for s in sorted(signal.valid_signals())])"
    (tmp_path / "prog.py").write_text(WAITS.format(wait=show))
    plain = programs.run([*programs.PYTHON, "prog.py"], tmp_path)
    ours = programs.run([*programs.QUIET, "prog.py"], tmp_path)
    assert _without_addresses(ours) == _without_addresses(plain)


def test_an_ignored_sigint_stays_ignored(tmp_path: Path) -> None:
    show = "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    (tmp_path / "prog.py").write_text(WAITS.format(wait=show))
    assert signalled(programs.QUIET, tmp_path, signal.SIGINT, ignore=True) == (0, "True\n", "")


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text("import sys\nwhile True: print('x' * 1000)\n")
    for command in (programs.PYTHON, programs.QUIET):
        process = subprocess.Popen(
            [*command, "prog.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        assert process.wait(30) == 1
        assert err.rstrip().endswith(b"BrokenPipeError: [Errno 32] Broken pipe")
        assert b"counterpoint" not in err


def test_the_process_id_is_kept(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*programs.QUIET, "-c", "import os; print(os.getpid())"], stdout=subprocess.PIPE, text=True
    )
    out, _ = process.communicate(timeout=30)
    assert int(out) == process.pid


def test_our_classes_are_there_before_the_first_line(tmp_path: Path) -> None:
    show = (
        "import threading, queue, concurrent.futures as f\n"
        "print(threading.Lock, queue.Queue, f.ThreadPoolExecutor)"
    )
    (tmp_path / "prog.py").write_text(show)
    want = (
        "import {}threading as t, {}queue as q, {}futures as f\n"
        "print(t.Lock, q.Queue, f.ThreadPoolExecutor)"
    )
    for option, *modules in (
        (None, "counterpoint.", "counterpoint.", "counterpoint."),
        ("--no-threading", "", "counterpoint.", "counterpoint."),
        ("--no-queue", "counterpoint.", "", "counterpoint."),
        ("--no-futures", "counterpoint.", "counterpoint.", "concurrent."),
    ):
        options = [] if option is None else [option]
        ours = programs.run([*programs.QUIET, *options, "prog.py"], tmp_path)
        assert ours == programs.run([sys.executable, "-c", want.format(*modules)], tmp_path)
