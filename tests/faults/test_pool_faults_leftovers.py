"""Whoever is killed, whatever is shared then: no memory with a name is left, and no process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.programs import TASKS, program, with_own_shm
from tests.processes import Meeting
from tests.support import eventually

pytestmark = pytest.mark.timeout(40)


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    place = Meeting(tmp_path)
    yield place
    place.close()


HOLDS = (
    TASKS
    + """
from counterpoint import multiprocessing
from counterpoint._worker import zygotes
from counterpoint.futures import WorkerCrashed, share

if __name__ == "__main__":
    meeting = Guest(*sys.argv[1:3])
    large = bytes(8 << 20)
    queue, barrier = multiprocessing.Queue(), multiprocessing.Barrier(2)
    queue.put(large)
    queue.put_many(range(1000))
    table = share(bytearray(large))
    with ProcessPoolExecutor(2) as pool:
        # One is here, the other is on its way.
        results = pool.submit(identity, large).result(), pool.submit(identity, large)
        meeting.arrive(zygotes.current().pid)
        # Each has the shared object, and an argument; what waits has them as well.
        futures = [pool.submit(stay, meeting, (table, large)) for _ in range(4)]
        if sys.argv[3] == "parent":
            signal.pause()
        crashed = [type(future.exception(20)) for future in futures[:2]]
        assert crashed == [WorkerCrashed] * 2, crashed
        assert pool.submit(len, table).result(20) == len(queue.get()) == len(large)
        print("went on", flush=True)
"""
)


def session(leader: int) -> dict[int, str]:
    """The processes of a session that have not ended, and their names."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            name, rest = Path(f"/proc/{entry}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        state, _, _, its_session = rest.split()[:4]
        if int(its_session) == leader and state not in "ZX":
            found[int(entry)] = name
    return found


@pytest.mark.parametrize("who", ["parent", "zygote"])
def test_nothing_is_left_of_what_was_shared(who: str, meeting: Meeting, tmp_path: Path) -> None:
    with program(tmp_path, HOLDS, *meeting.paths, who, prefix=with_own_shm()) as running:
        parent = running.process.pid
        zygote, *workers = meeting.arrived(3)
        # Still to be looked into when nobody is left in its namespace.
        shm = os.open(f"/proc/{parent}/root/dev/shm", os.O_RDONLY | os.O_DIRECTORY)
        try:
            assert {parent, zygote, *workers} <= session(parent).keys()
            assert os.listdir(shm) == []
            os.kill(parent if who == "parent" else zygote, signal.SIGKILL)
            if who == "zygote":
                # What had not begun does so elsewhere.
                meeting.arrived(2)
                meeting.let_go(2)
                status, out, err = running.end()
                assert (status, out) == (0, "went on\n"), err
            eventually(lambda: not session(parent), 10)
            assert os.listdir(shm) == []
        finally:
            os.close(shm)
