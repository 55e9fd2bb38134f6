"""Fixtures of the tests of worker processes, of the process pool and of the event loop."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterpoint._worker import zygotes
from counterpoint.futures import ThreadPoolExecutor
from tests import loops
from tests.processes import Meeting, ProcessPoolExecutor
from tests.support import DEADLINE, eventually
from tests.unit.workers import STAND_IN, ask, spares


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the path that holds the stand-in; no zygote is left in the end."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    # Else what other tests have had preloaded is preloaded by each.
    monkeypatch.setattr(zygotes, "_modules", {})
    assert zygotes.stop(DEADLINE)
    yield tmp_path
    assert zygotes.stop(DEADLINE)


@pytest.fixture(params=["zygote", "spare", "spawn"])
def method(request: pytest.FixtureRequest, stand_in: Path) -> str:
    """The methods that do not fork this process; the third is tested in programs of one thread.

    With the zygote twice: a worker that is forked when it is asked for, and one that waited.
    """
    if request.param != "spare":
        return str(request.param)
    assert ask("zygote", "say(1)") == 1
    eventually(spares)
    return "zygote"


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    """A process pool; the modules about other pools have their own."""
    with ProcessPoolExecutor(2) as made:
        yield made


@pytest.fixture
def one() -> Iterator[ThreadPoolExecutor]:
    """A thread pool of one worker."""
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    """A place to meet tasks."""
    place = Meeting(tmp_path)
    yield place
    place.close()


@pytest.fixture
def loop() -> Iterator[AbstractEventLoop]:
    """The event loop under test, closed in the end."""
    with loops.running_in() as made:
        yield made
