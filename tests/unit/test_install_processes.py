"""install() and the process pool: ours when it is asked for, and nothing imported before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit import programs

NOTHING = """
import sys
heavy = {"multiprocessing", "concurrent.futures.process", "counterpoint._process.executor"}
print(sorted(heavy & set(sys.modules)))
"""
ASKED = {
    "by the package's name": "import concurrent.futures as f; found = f.ProcessPoolExecutor",
    "by a from-import": "from concurrent.futures import ProcessPoolExecutor as found",
    "in its module": "import concurrent.futures.process as p; found = p.ProcessPoolExecutor",
    "by a from-import of its module": (
        "from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor as found"
    ),
    "after another name of the module": (
        "from concurrent.futures.process import BrokenProcessPool\n"
        "from concurrent.futures import ProcessPoolExecutor as found"
    ),
    "after ours": (
        "import counterpoint; counterpoint.ProcessPoolExecutor\n"
        "from concurrent.futures.process import ProcessPoolExecutor as found"
    ),
}
INSTALL = "import counterpoint._install as c; c.install()\n"
SAME = """
import concurrent.futures as f, concurrent.futures.process as p, counterpoint
ours = counterpoint.ProcessPoolExecutor
print(found is ours, f.ProcessPoolExecutor is ours, p.ProcessPoolExecutor is ours)
c.uninstall()
print(f.ProcessPoolExecutor is ours, f.ProcessPoolExecutor is p.ProcessPoolExecutor)
print(issubclass(ours, p.ProcessPoolExecutor), f.ProcessPoolExecutor.__module__)
"""


def printed(source: str, cwd: Path) -> str:
    line = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", source]
    ended = programs.run(line, cwd)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


@pytest.mark.parametrize(
    "imported",
    ["import counterpoint.futures", "from counterpoint.futures import TaskKilled", INSTALL],
)
def test_nothing_heavy_is_imported_before_it_is_asked_for(imported: str, tmp_path: Path) -> None:
    assert printed(f"{imported}\n{NOTHING}", tmp_path) == "[]\n"


@pytest.mark.parametrize("way", ASKED)
def test_whoever_asks_gets_ours_until_it_is_taken_back(way: str, tmp_path: Path) -> None:
    out = printed(f"{INSTALL}{ASKED[way]}\n{SAME}", tmp_path)
    assert out == "True True True\nFalse True\nTrue concurrent.futures.process\n"


@pytest.mark.parametrize("way", ASKED)
def test_what_was_imported_before_is_replaced_too(way: str, tmp_path: Path) -> None:
    source = f"{ASKED[way]}\n{INSTALL}found = f.ProcessPoolExecutor\n{SAME}"
    out = printed(f"import concurrent.futures as f\n{source}", tmp_path)
    assert out == "True True True\nFalse True\nTrue concurrent.futures.process\n"


def test_an_installation_that_nobody_used_leaves_everything_as_it_was(tmp_path: Path) -> None:
    source = (
        "import sys, concurrent.futures as f, concurrent.futures.thread\n"
        # Imported by install(), as it is derived from what that replaces.
        "try: import concurrent.futures.interpreter\n"
        "except ImportError: pass\n"
        "f.ThreadPoolExecutor; before, finders = dict(vars(f)), list(sys.meta_path)\n"
        f"{INSTALL}c.install(); c.uninstall()\n"
        "now = vars(f)\n"
        "print(now.keys() == before.keys(), all(now[k] is before[k] for k in before))\n"
        f"print(sys.meta_path == finders)\n{NOTHING}"
    )
    assert printed(source, tmp_path) == "True True\nTrue\n[]\n"


def test_without_the_futures_the_process_pool_stays(tmp_path: Path) -> None:
    source = (
        "import counterpoint._install as c; c.install(futures=False)\n"
        "import concurrent.futures; print(concurrent.futures.ProcessPoolExecutor.__module__)\n"
    )
    assert printed(source, tmp_path) == "concurrent.futures.process\n"


def test_a_name_that_is_not_there_is_still_not_there(tmp_path: Path) -> None:
    source = (
        f"{INSTALL}import concurrent.futures as f\n"
        "try: f.Teapot\n"
        "except AttributeError as error: print(error)\n"
    )
    out = printed(source, tmp_path)
    assert out == "module 'concurrent.futures' has no attribute 'Teapot'\n"


def test_asyncio_runs_on_an_installed_pool(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        f"{INSTALL}"
        "import asyncio, concurrent.futures as f\n"
        "async def main():\n"
        "    with f.ProcessPoolExecutor(1) as pool:\n"
        "        loop = asyncio.get_running_loop()\n"
        "        print(await loop.run_in_executor(pool, pow, 2, 10), type(pool).__module__)\n"
        "if __name__ == '__main__': asyncio.run(main())\n"
    )
    ended = programs.run([sys.executable, "program.py"], tmp_path)
    assert ended == (0, "1024 counterpoint.futures\n", "")
