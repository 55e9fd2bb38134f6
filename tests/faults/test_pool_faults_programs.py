"""Faults 17, 19, 20 and 23: what happens to the whole program, in programs of their own."""

from __future__ import annotations

import random
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.programs import TASKS, program, succeeds, with_own_shm
from tests.processes import Meeting, state_of
from tests.support import eventually

pytestmark = pytest.mark.timeout(40)


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    place = Meeting(tmp_path)
    yield place
    place.close()


BUSY = (
    TASKS
    + """
if __name__ == "__main__":
    meeting = Guest(*sys.argv[1:3])
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(stay, meeting) for _ in range(2)]
        try:
            futures[0].result()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            meeting.arrive(0)
    print("ended", [future.exception() for future in futures])
"""
)


def test_17_ctrl_c_while_busy_leaves_the_tasks_alone(meeting: Meeting, tmp_path: Path) -> None:
    with program(tmp_path, BUSY, *meeting.paths) as running:
        meeting.arrived(2)
        running.ctrl_c()
        meeting.arrived()
        meeting.let_go(2)
        assert running.end() == (0, "interrupted\nended [None, None]\n", "")


def test_17_ctrl_c_twice_while_busy_ends_the_program(meeting: Meeting, tmp_path: Path) -> None:
    with program(tmp_path, BUSY, *meeting.paths) as running:
        pids = meeting.arrived(2)
        running.ctrl_c()
        meeting.arrived()

        def gone() -> bool:
            # The second comes while shutdown waits, the third while the exit does: or later.
            running.ctrl_c()
            return running.process.poll() is not None

        eventually(gone, 20)
        _, out, err = running.end()
        assert out == "interrupted\n"
        assert "KeyboardInterrupt" in err
        eventually(lambda: not any(state_of(pid) for pid in pids), 10)


IDLE = (
    TASKS
    + """
if __name__ == "__main__":
    meeting = Guest(*sys.argv[1:3])
    pool = ProcessPoolExecutor(2)
    print(sum(pool.map(square, range(100), chunksize=1)))
    try:
        meeting.arrive()
        while True:
            signal.pause()
    except KeyboardInterrupt:
        print(pool.submit(square, 3).result())
"""
)


def test_17_ctrl_c_while_idle(meeting: Meeting, tmp_path: Path) -> None:
    with program(tmp_path, IDLE, *meeting.paths) as running:
        meeting.arrived()
        running.ctrl_c()
        assert running.end() == (0, "328350\n9\n", "")


INTERRUPTED_SUBMITS = (
    TASKS
    + """
import warnings
# An interrupt may come between the making of a socket and its owner: the collector closes it.
warnings.simplefilter("ignore", ResourceWarning)
if __name__ == "__main__":
    meeting, sigint = Guest(*sys.argv[1:3]), {signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, sigint)
    with ProcessPoolExecutor(2, max_tasks_per_child=20) as pool:
        for turn in range(40):
            futures = []
            meeting.arrive()
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, sigint)
                while True:
                    futures += [pool.submit(square, number) for number in range(20)]
                    for future in futures[-20:]:
                        future.result()
            except KeyboardInterrupt:
                signal.pthread_sigmask(signal.SIG_BLOCK, sigint)
            for number, future in enumerate(futures):
                assert future.result(20) == (number % 20) ** 2
    print("all there")
"""
)


def test_17_ctrl_c_at_any_moment_of_submit_and_result(meeting: Meeting, tmp_path: Path) -> None:
    random.seed(17)
    with program(tmp_path, INTERRUPTED_SUBMITS, *meeting.paths) as running:
        for _ in range(40):
            meeting.arrived()
            # At random within what submitting, launching and waiting take.
            select.select([], [], [], random.choice((0, 0.001, 0.003, 0.01)) * random.random())
            running.process.send_signal(signal.SIGINT)
        # A socket that was interrupted in the making is closed by the collector, which says so.
        assert running.end()[:2] == (0, "all there\n")


FORKS = (
    TASKS
    + """
warnings.simplefilter("ignore", DeprecationWarning)

import asyncio
from counterpoint.futures import as_completed, wait

async def awaits(future):
    return await asyncio.wait_for(future, 5)

def be_child(pool, futures):
    # Nothing that was inherited works, nothing hangs, and a pool of its own does work.
    last = futures[-1]
    for attempt in (
        lambda: pool.submit(square, 1),
        lambda: last.result(5),
        lambda: wait([last], 5),
        lambda: next(as_completed([last], 5)),
        lambda: asyncio.run(awaits(last)),
    ):
        try:
            attempt()
        except RuntimeError as error:
            assert "fork" in str(error), error
        else:
            assert last.done()
    assert last.done() or not (last.cancel() or last.kill() or last.done())
    last.running(); repr(last)
    pool.shutdown(wait=True, cancel_futures=True)
    del pool
    gc.collect()
    with ProcessPoolExecutor(1) as own:
        assert own.submit(square, 5).result(20) == 25

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        for turn in range(12):
            futures = [pool.submit(square, number) for number in range(2000)]
            child = os.fork()
            if child == 0:
                try:
                    be_child(pool, futures)
                    del pool, futures
                    gc.collect()
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            assert [future.result(20) for future in futures] == [n * n for n in range(2000)]
            assert os.waitpid(child, 0)[1] == 0, turn
    print("fine")
"""
)


def test_19_a_fork_of_the_parent_while_busy(tmp_path: Path) -> None:
    assert succeeds(tmp_path, FORKS) == "fine\n"


FORKED_BY_MULTIPROCESSING = (
    TASKS
    + """
import multiprocessing
warnings.simplefilter("ignore", DeprecationWarning)

def child(pool):
    try:
        pool.submit(square, 1)
    except RuntimeError:
        sys.exit(0)
    sys.exit(1)

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(square, number) for number in range(500)]
        fork = multiprocessing.get_context("fork")
        children = [fork.Process(target=child, args=(pool,)) for _ in range(4)]
        for each in children: each.start()
        for each in children: each.join(20)
        assert [each.exitcode for each in children] == [0] * 4
        assert [future.result(20) for future in futures] == [n * n for n in range(500)]
    print("fine")
"""
)


def test_19_a_child_of_multiprocessing(tmp_path: Path) -> None:
    assert succeeds(tmp_path, FORKED_BY_MULTIPROCESSING) == "fine\n"


LEFT_TO_THE_EXIT = (
    TASKS
    + """
def note(path, number):
    with open(path, "a") as file:
        file.write(f"{number}\\n")

def begin(path):
    pool = ProcessPoolExecutor(2)
    for number in range(30):
        pool.submit(note, path, number)
    if sys.argv[2] == "kept":
        global keep
        keep = pool

if __name__ == "__main__":
    begin(sys.argv[1])
    if sys.argv[3] == "raise":
        sys.exit(0)
"""
)


@pytest.mark.parametrize("how", ["kept", "collected"])
@pytest.mark.parametrize("end", ["return", "raise"])
def test_20_exit_of_the_interpreter_with_work_pending(tmp_path: Path, how: str, end: str) -> None:
    """What was submitted still runs, as in the stdlib, though the executor may be gone."""
    path = tmp_path / "notes"
    succeeds(tmp_path, LEFT_TO_THE_EXIT, str(path), how, end)
    assert sorted(map(int, path.read_text().split())) == list(range(30))


SUDDEN = (
    TASKS
    + """
if __name__ == "__main__":
    meeting = Guest(*sys.argv[1:3])
    pool = ProcessPoolExecutor(2)
    futures = [pool.submit(stay, meeting) for _ in range(8)]
    meeting.arrive()
    signal.pause()
"""
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_20_the_parent_is_killed_and_its_workers_die(
    meeting: Meeting, tmp_path: Path, number: int
) -> None:
    with program(tmp_path, SUDDEN, *meeting.paths) as running:
        pids = meeting.arrived(3)
        running.process.send_signal(number)
        running.process.wait(10)
        eventually(lambda: not any(state_of(pid) for pid in pids), 10)


EXITS_IN_A_CALLBACK = (
    TASKS
    + """
if __name__ == "__main__":
    pool = ProcessPoolExecutor(2)
    for number in range(200):
        pool.submit(square, number).add_done_callback(lambda future: future.result())
    def say(future):
        print(type(future.exception()).__name__, flush=True)
    pool.submit(die).add_done_callback(say)
"""
)


def test_20_callbacks_still_run_at_the_exit(tmp_path: Path) -> None:
    assert succeeds(tmp_path, EXITS_IN_A_CALLBACK) == "WorkerCrashed\n"


PLAIN = (
    TASKS
    + """
if __name__ == "__main__":
    shm = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(square, range(100))) == [n * n for n in range(100)]
        large = bytes(20_000_000)
        assert pool.submit(identity, large).result() == large
    assert shm == (os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else [])
    print("fine")
"""
)


def test_23_dev_shm_is_full(tmp_path: Path) -> None:
    prefix = with_own_shm("-o size=4k", "head -c 8k /dev/zero > /dev/shm/x")
    assert succeeds(tmp_path, PLAIN, prefix=prefix) == "fine\n"


NO_SEMAPHORES = """
import _multiprocessing
def refuse(*_):
    raise OSError(38, "Function not implemented")
_multiprocessing.SemLock = refuse
"""


def test_23_dev_shm_is_of_no_use_and_there_are_no_semaphores(tmp_path: Path) -> None:
    prefix = with_own_shm("-o ro")
    assert succeeds(tmp_path, NO_SEMAPHORES + PLAIN, prefix=prefix) == "fine\n"


FEW_DESCRIPTORS = (
    TASKS
    + """
import resource
if __name__ == "__main__":
    used = max(map(int, os.listdir("/proc/self/fd"))) + 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    worked = failed = 0
    for room in range(0, 60, 3):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + room, hard))
        try:
            with ProcessPoolExecutor(2) as pool:
                futures = [pool.submit(square, number) for number in range(20)]
                large = pool.submit(len, bytes(1_000_000))
                assert [future.result(10) for future in futures] == [n * n for n in range(20)]
                assert large.result(10) == 1_000_000
            worked += 1
        except OSError:
            failed += 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert worked and failed, (worked, failed)
    gc.collect()
    with ProcessPoolExecutor(2) as pool:
        assert pool.submit(square, 3).result(10) == 9
    print("fine")
"""
)


def test_23_a_small_limit_of_descriptors(tmp_path: Path) -> None:
    """An error or the right result, whatever the limit, and never a hang."""
    with program(tmp_path, FEW_DESCRIPTORS) as running:
        status, out, err = running.end(35)
    assert (status, out) == (0, "fine\n"), err


LIMIT_ON_THE_WAY = (
    TASKS
    + """
import resource
if __name__ == "__main__":
    meeting = Guest(*sys.argv[1:3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(square, 3).result(10) == 9
        room = max(map(int, os.listdir("/proc/self/fd"))) + 2
        resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))
        victim = pool.submit(die)
        behind = [pool.submit(square, number) for number in range(5)]
        print(type(victim.exception(10)).__name__)
        print({type(future.exception(10)).__name__ for future in behind})
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
"""
)


def test_23_no_descriptor_for_a_replacement(meeting: Meeting, tmp_path: Path) -> None:
    """The only worker dies and no other can be started: what waits for one fails."""
    with program(tmp_path, LIMIT_ON_THE_WAY, *meeting.paths) as running:
        status, out, err = running.end()
    assert status == 0, err
    crashed, behind = out.split("\n", 1)
    assert crashed == "WorkerCrashed"
    assert behind in ("{'BrokenProcessPool'}\n", "{'NoneType'}\n")
