"""Finds the interpreters to build for and test on: one for each tag, wherever it is installed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .common import ask, fail

TAGS = ("cp311", "cp312", "cp313", "cp314", "cp315", "cp314t", "cp315t")

# Where a step needs one interpreter only: the version with the widest choice of ready-made
# packages first.
PREFERENCE = ("cp313", "cp312", "cp311", "cp314", "cp315", "cp315t", "cp314t")

# `suite`: CPython's own tests are installed and the interpreter is complete enough to be judged
# by them. `lacks`: those that its `make install` left out all the same.
PROBE = """
import importlib.util as u, json, sys, sysconfig
def has(*names):
    try: return all(u.find_spec(n) is not None for n in names)
    except ImportError: return False
t = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
print(json.dumps(dict(
    executable=getattr(sys, "_base_executable", sys.executable), name=sys.implementation.name,
    tests=[*u.find_spec("test").submodule_search_locations][0] if has("test") else "",
    tag="cp%d%d%s" % (sys.version_info[0], sys.version_info[1], "t" if t else ""),
    version=sys.version.split()[0], suffix=sysconfig.get_config_var("EXT_SUFFIX"),
    venv=has("venv"), suite=has("test.support", "test.lock_tests", "_ctypes"),
    lacks=[n for n in ("test_queue", "test_threading", "test_threadsignals", "test_asyncio",
                       "test_concurrent_futures") if not has("test." + n)])))
"""


@dataclass(frozen=True)
class Interpreter:
    """A CPython that was started once and told about itself."""

    tag: str
    path: Path
    version: str
    suffix: str
    has_venv: bool
    has_suite: bool
    lacks: tuple[str, ...] = ()
    # The directory of CPython's own tests.
    tests: str = ""

    @property
    def free_threaded(self) -> bool:
        return self.tag.endswith("t")

    def __str__(self) -> str:
        return f"{self.tag} ({self.version}, {self.path})"


@dataclass
class Found:
    """What discovery came to: the chosen ones by tag, and for each other tag why there is none."""

    chosen: dict[str, Interpreter] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def primary(self) -> Interpreter:
        tag = next((tag for tag in PREFERENCE if tag in self.chosen), None)
        if tag is None:
            fail("no supported interpreter found: name one with PYTHONS=/path/to/python")
        return self.chosen[tag]


def probe(path: str | Path) -> Interpreter | None:
    answer = ask([path, "-I", "-c", PROBE])
    if answer is None:
        return None
    told = json.loads(answer)
    if told["name"] != "cpython":
        return None
    executable = Path(told["executable"] or path)
    return Interpreter(
        told["tag"],
        executable,
        told["version"],
        told["suffix"],
        told["venv"],
        told["suite"],
        tuple(told["lacks"]),
        told["tests"],
    )


def named_by_user() -> list[str]:
    """PYTHONS, separated by spaces or colons."""
    return os.environ.get("PYTHONS", "").replace(":", " ").split()


def candidates() -> Iterator[str | Path]:
    """In order of preference: the user's word, the PATH, pyenv, then $PYTHONS_ROOT."""
    yield from named_by_user()
    if os.environ.get("PYTHON", "") not in ("", "all"):
        yield os.environ["PYTHON"]
    yield sys.executable
    minors = range(11, 16)
    names = [f"python3.{m}" for m in minors] + ["python3.14t", "python3.15t", "python3"]
    yield from (found for name in names if (found := shutil.which(name)))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/3.1[1-9]*/bin/python"), reverse=True)
    root = Path(os.environ.get("PYTHONS_ROOT") or Path.home() / ".cache" / "pythons")
    yield from (root / "sid/usr/bin" / f"python3.{m}" for m in (14, 15))
    yield from (root / f"3.{m}t/bin/python" for m in (14, 15))


def probe_all(paths: Iterable[str | Path]) -> list[Interpreter]:
    with ThreadPoolExecutor(4) as pool:
        return [found for found in pool.map(probe, list(dict.fromkeys(map(str, paths)))) if found]


def discover() -> Found:
    """One for each tag: what the user names, the first with CPython's tests, or the first."""
    named = []
    for path in named_by_user():
        if (interpreter := probe(path)) is None:
            fail(f"PYTHONS names {path}, which does not run as a CPython")
        named.append(interpreter)
    known: dict[str, list[Interpreter]] = {}
    for interpreter in probe_all(candidates()):
        known.setdefault(interpreter.tag, []).append(interpreter)
    wanted = os.environ.get("TAGS", "").replace(",", " ").split() or list(TAGS)
    if unknown := set(wanted) - set(TAGS):
        fail(f"TAGS names {' '.join(sorted(unknown))}; the tags are {' '.join(TAGS)}")
    found = Found()
    for tag in TAGS:
        usable = [i for i in known.get(tag, ()) if i.has_venv]
        if tag not in wanted:
            found.missing[tag] = "left out by TAGS"
        elif usable:
            best = [*(i for i in usable if i in named), *(i for i in usable if i.has_suite)]
            found.chosen[tag] = (best or usable)[0]
        elif tag in known:
            found.missing[tag] = f"{known[tag][0].path} has no venv module"
        else:
            found.missing[tag] = "not on PATH, in pyenv, in PYTHONS or under PYTHONS_ROOT"
    return found


def one() -> Interpreter:
    """The interpreter that PYTHON names, or else the one that runs this."""
    name = os.environ.get("PYTHON") or sys.executable
    interpreter = probe(name)
    if interpreter is None:
        fail(f"{name} does not run as a CPython: set PYTHON=/path/to/python, 3.11 or newer")
    if interpreter.tag not in TAGS:
        fail(f"{name} is {interpreter.tag}: Counterpoint supports {' '.join(TAGS)}")
    return interpreter
