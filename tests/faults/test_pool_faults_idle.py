"""Fault 17 while nothing is to be done, and fault 23 where there is no /dev/shm at all."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.programs import TASKS, program, succeeds
from tests.processes import Meeting

pytestmark = pytest.mark.timeout(40)


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    place = Meeting(tmp_path)
    yield place
    place.close()


CATCHES = (
    TASKS
    + """
if __name__ == "__main__":
    meeting = Guest(*sys.argv[1:3])
    pool = ProcessPoolExecutor(2)
    pids = {pool.submit(os.getpid).result() for _ in range(10)}
    for _ in range(2):
        try:
            meeting.arrive()
            while True:
                signal.pause()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    # By the same workers: none of them minded.
    print(sum(pool.map(square, range(100), chunksize=1)))
    pids -= {pool.submit(os.getpid).result() for _ in range(1000)}
    print(len(pids))
"""
)


def test_17_ctrl_c_twice_while_idle(meeting: Meeting, tmp_path: Path) -> None:
    with program(tmp_path, CATCHES, *meeting.paths) as running:
        for _ in range(2):
            meeting.arrived()
            running.ctrl_c()
        expected = "interrupted\ninterrupted\n328350\n0\n"
        assert running.end() == (0, expected, "")


DOES_NOT_CATCH = (
    TASKS
    + """
if __name__ == "__main__":
    meeting = Guest(*sys.argv[1:3])
    pool = ProcessPoolExecutor(2)
    assert pool.submit(square, 3).result() == 9
    if sys.argv[3] == "with":
        with pool:
            meeting.arrive()
            while True:
                signal.pause()
    meeting.arrive()
    while True:
        signal.pause()
"""
)


@pytest.mark.parametrize("presses", [1, 2])
@pytest.mark.parametrize("how", ["with", "without"])
def test_17_ctrl_c_while_idle_ends_who_does_not_catch_it(
    how: str, presses: int, meeting: Meeting, tmp_path: Path
) -> None:
    with program(tmp_path, DOES_NOT_CATCH, *meeting.paths, how) as running:
        meeting.arrived()
        for _ in range(presses):
            # The second comes while the first is being obeyed.
            running.ctrl_c()
        status, out, err = running.end()
    assert (status, out) == (-signal.SIGINT, "")
    assert "KeyboardInterrupt" in err


def without_dev_shm(directory: Path) -> tuple[str, ...]:
    """A prefix for a program whose /dev has what programs need, and no shm."""
    script = """
    set -e; dev=$0; mount -t tmpfs none "$dev"
    for name in null zero random urandom; do
        : > "$dev/$name"; mount --bind "/dev/$name" "$dev/$name"
    done
    mount --rbind "$dev" /dev; exec "$@"
    """
    directory.mkdir()
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(directory))
    try:
        made = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        made = None
    if made is None or made.returncode:
        pytest.skip("no mount namespace can be made here, which takes the right to")
    return prefix


EVERYTHING = (
    TASKS
    + """
from counterpoint import multiprocessing
from counterpoint.futures import share

def use(queue, lock, condition, barrier):
    with lock, condition:
        queue.put(len(queue.get()))
    barrier.wait(20)

if __name__ == "__main__":
    assert not os.path.exists("/dev/shm") and os.listdir("/dev")
    large = bytes(20_000_000)
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(square, range(100))) == [n * n for n in range(100)]
        assert pool.submit(identity, large).result() == large
        assert pool.submit(len, share(large)).result() == len(large)
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        queue, barrier = context.Queue(), context.Barrier(2)
        queue.put(large)
        shared = queue, context.Lock(), context.Condition(), barrier
        process = context.Process(target=use, args=shared)
        process.start()
        barrier.wait(20)
        process.join()
        assert (process.exitcode, queue.get()) == (0, len(large))
    with multiprocessing.Pool(1) as pool:
        assert pool.map(square, [1, 2]) == [1, 4]
    print("fine")
"""
)


def test_23_there_is_no_dev_shm(tmp_path: Path) -> None:
    prefix = without_dev_shm(tmp_path / "dev")
    assert succeeds(tmp_path, EVERYTHING, prefix=prefix) == "fine\n"
