"""Every way in which a program comes to asyncio's loop leads to ours, and back again."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from counterpoint import aio
from counterpoint._loop.policy import default_policy
from tests.support import run_async, succeeds
from tests.unit import programs

ROOT = str(Path(__file__).parents[2])
OURS, THEIRS = "counterpoint._loop.loop", "asyncio.unix_events"

HEAD = """
import asyncio, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of policies, from Python 3.14 on

async def tell():
    print(type(asyncio.get_running_loop()).__module__)

def tell_of(loop):
    loop.run_until_complete(tell())
    loop.close()
"""

WAYS = {
    "run": "asyncio.run(tell())",
    "a runner": "with asyncio.Runner() as runner: runner.run(tell())",
    "new_event_loop": "tell_of(asyncio.new_event_loop())",
    "the class": "tell_of(asyncio.SelectorEventLoop())",
}
if default_policy is not None:
    WAYS["the policy"] = "tell_of(asyncio.get_event_loop_policy().new_event_loop())"
if sys.version_info >= (3, 13):
    WAYS["the class's new name"] = "tell_of(asyncio.EventLoop())"

# Those to which a policy leads.
BY_POLICY = [lines for way, lines in WAYS.items() if not way.startswith("the class")]

has_policies = pytest.mark.skipif(
    default_policy is None, reason="this version of Python has no event loop policies"
)


def told(code: str, *ways: str) -> list[str]:
    """What a program says of its loops, which it comes to in these ways, or in every way."""
    return succeeds("\n".join([code, HEAD, *(ways or WAYS.values())]), ROOT).split()


def test_without_us_asyncio_makes_its_own() -> None:
    assert told("import counterpoint, counterpoint.aio") == [THEIRS] * len(WAYS)


# What comes before the program's own import of asyncio.
INSTALLED = {
    "before asyncio": "import counterpoint; counterpoint.install()",
    "after asyncio": "import asyncio, counterpoint; counterpoint.install()",
    "before our loop": "import counterpoint as c; c.install(); import counterpoint.aio",
    "before its module": "import counterpoint as c; c.install(); import counterpoint._loop.loop",
    "after our loop": "import counterpoint.aio; counterpoint.install()",
    "for asyncio alone": "from counterpoint import aio; aio.install()",
    "twice": "from counterpoint import aio, install; install(); aio.install(); install()",
}


@pytest.mark.parametrize("how", INSTALLED)
def test_installed_every_way_leads_to_ours(how: str) -> None:
    assert told(INSTALLED[how]) == [OURS] * len(WAYS)


LEFT = {
    "without asyncio": "import counterpoint; counterpoint.install(asyncio=False)",
    "and taken back": "import asyncio, counterpoint as c; c.install(); c.uninstall()",
    "and taken back before asyncio": "import counterpoint as c; c.install(); c.uninstall()",
    "and taken back twice": "from counterpoint import aio, install, uninstall\n"
    "install(); aio.install(); uninstall(); uninstall()",
}


@pytest.mark.parametrize("how", LEFT)
def test_installed_in_vain(how: str) -> None:
    assert told(LEFT[how]) == [THEIRS] * len(WAYS)


def test_asyncio_is_waited_for_and_not_imported() -> None:
    code = (
        "import sys, counterpoint\n"
        "counterpoint.install(threading=False, queue=False, futures=False)\n"
        "print('asyncio' in sys.modules)\n"
        "counterpoint.uninstall()\n"
        "print('asyncio' in sys.modules, sys.meta_path == before)\n"
    )
    before = "import sys; before = list(sys.meta_path)\n"
    assert succeeds(before + code) == "False\nFalse True\n"


def test_uninstalling_leaves_asyncio_as_it_was() -> None:
    every = "\n".join(WAYS.values())
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.unit.asyncio_names import changes, names\n"
        f"{HEAD}\n"
        f"{every}\n"
        "before = names()\n"
        "import counterpoint; counterpoint.install()\n"
        "print(changes(before))\n"
        f"{every}\n"
        "counterpoint.uninstall()\n"
        "print(changes(before))\n"
    )
    changed = ["asyncio.SelectorEventLoop"]
    if sys.version_info >= (3, 13):
        changed.insert(0, "asyncio.EventLoop")
    if default_policy is not None:
        changed.append(f"{THEIRS}.{default_policy.__name__}._loop_factory")
    number = len(WAYS)
    assert succeeds(code, ROOT).splitlines() == [
        *[THEIRS] * number,
        str(changed),
        *[OURS] * number,
        "[]",
    ]


def test_a_loop_outlives_the_installation() -> None:
    code = (
        "import asyncio, counterpoint\n"
        "theirs = asyncio.new_event_loop()\n"
        "counterpoint.install()\n"
        "ours = asyncio.new_event_loop()\n"
        "counterpoint.uninstall()\n"
    )
    assert told(code, "tell_of(ours)", "tell_of(theirs)") == [OURS, THEIRS]


@has_policies
def test_our_policy_makes_ours_and_the_usual_one_asyncios_again() -> None:
    code = "\n".join(
        [
            HEAD,
            "from counterpoint.aio import EventLoopPolicy",
            "asyncio.set_event_loop_policy(EventLoopPolicy())",
            *BY_POLICY,
            "asyncio.set_event_loop_policy(None)",
            *BY_POLICY,
        ]
    )
    assert succeeds(code).split() == [OURS] * len(BY_POLICY) + [THEIRS] * len(BY_POLICY)


@has_policies
def test_a_policy_of_the_program_stays_the_programs() -> None:
    code = "\n".join(
        [
            HEAD,
            "class Loop(asyncio.SelectorEventLoop): pass",
            "class Policy(asyncio.DefaultEventLoopPolicy):",
            "    def new_event_loop(self): return Loop()",
            "asyncio.set_event_loop_policy(Policy())",
            "import counterpoint; counterpoint.install()",
            *BY_POLICY,
            "asyncio.set_event_loop_policy(None)",
            *BY_POLICY,
        ]
    )
    assert succeeds(code).split() == ["__main__"] * len(BY_POLICY) + [OURS] * len(BY_POLICY)


@pytest.mark.parametrize("way", WAYS)
def test_a_program_under_run_has_ours(way: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(f"{HEAD}\n{WAYS[way]}\n")
    assert programs.run([*programs.QUIET, "app.py"], tmp_path) == (0, f"{OURS}\n", "")


def test_a_program_under_run_may_keep_asyncios(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("\n".join([HEAD, *WAYS.values()]))
    ended = programs.run([*programs.QUIET, "--no-asyncio", "app.py"], tmp_path)
    assert ended == (0, f"{THEIRS}\n" * len(WAYS), "")


def test_names_that_a_program_copies_are_ours_under_run(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from asyncio import *\n"
        "from asyncio.unix_events import SelectorEventLoop as inner\n"
        "async def tell(): print(type(get_running_loop()).__module__)\n"
        "run(tell())\n"
        "with Runner(loop_factory=SelectorEventLoop) as runner: runner.run(tell())\n"
        "with Runner(loop_factory=new_event_loop) as runner: runner.run(tell())\n"
        "print(inner.__module__)\n"
    )
    ended = programs.run([*programs.QUIET, "app.py"], tmp_path)
    assert ended == (0, f"{OURS}\n" * 3 + f"{THEIRS}\n", "")


async def debugging() -> bool:
    return asyncio.get_running_loop().get_debug()


def test_run_gives_the_result_of_a_coroutine_on_a_loop_of_ours() -> None:
    async def main() -> type:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop())

    assert aio.run(main()) is aio.EventLoop


def test_run_sets_debug_mode_as_it_is_told() -> None:
    assert aio.run(debugging(), debug=True) is True
    assert aio.run(debugging(), debug=False) is False
    assert aio.run(debugging()) is asyncio.run(debugging())


Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.mark.parametrize("outer", [aio.run, run_async], ids=["ours", "asyncio's"])
def test_run_is_refused_while_a_loop_runs(outer: Run) -> None:
    async def main() -> None:
        inner = debugging()
        for run in (aio.run, asyncio.run):
            with pytest.raises(RuntimeError, match=r"run\(\) cannot be called"):
                run(inner)
        assert inspect.getcoroutinestate(inner) == inspect.CORO_CREATED
        inner.close()

    outer(main())


def test_run_raises_what_the_coroutine_does_and_ends_what_is_left() -> None:
    ended: list[object] = []

    async def lasts() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("the task")

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            ended.append("the generator")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept.extend([loop, loop.create_task(lasts()), numbers()])
        await anext(kept[2])
        raise LookupError("of its own")

    kept: list[Any] = []
    with pytest.raises(LookupError, match="of its own"):
        aio.run(main())
    loop, task, _ = kept
    assert ended == ["the task", "the generator"]
    assert task.cancelled()
    assert loop.is_closed()
