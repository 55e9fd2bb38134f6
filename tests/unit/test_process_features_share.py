"""Objects that are shared with tasks: placed once, mapped by workers, gone with the last holder."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from counterpoint._process.errors import WorkerCrashed
from counterpoint._process.executor import ProcessPoolExecutor
from counterpoint._process.sharing import Shared, share
from tests.support import DEADLINE, eventually

LARGE = 1 << 20


class Buffered:
    """Holds a large buffer that pickle passes out of band; counts how often it is unpickled."""

    unpickled = 0

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce_ex__(self, _: int) -> tuple[Any, ...]:
        return rebuild, (pickle.PickleBuffer(self.content),)


def rebuild(content: Any) -> Buffered:
    Buffered.unpickled += 1
    return Buffered(content)


def describe(value: Buffered) -> tuple[int, int, int]:
    return os.getpid(), Buffered.unpickled, len(value.content)


def overwrite(value: Buffered) -> int:
    value.content[0] = 7
    return sum(value.content[:1])


def first(value: Buffered) -> int:
    return int(value.content[0])


def nested(values: dict[str, list[Any]]) -> Any:
    return values["in"][0]


def held_parcels(pid: int | str = "self") -> int:
    """Descriptors and mappings of shared objects in a process."""
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += "counterpoint-shared" in os.readlink(fd)
        except OSError:
            continue
    return count + Path(f"/proc/{pid}/maps").read_text().count("counterpoint-shared")


def test_a_shared_object_arrives_as_itself() -> None:
    with ProcessPoolExecutor(1) as pool:
        handle = share([1, {"two": 2}])
        assert pool.submit(len, handle).result(DEADLINE) == 2
        assert pool.submit(nested, {"in": [handle]}).result(DEADLINE) == [1, {"two": 2}]


def test_a_worker_unpickles_it_once() -> None:
    handle = share(Buffered(bytearray(LARGE)))
    with ProcessPoolExecutor(2) as pool:
        rows = list(pool.map(describe, [handle] * 50, chunksize=1))
    assert {count for _, count, _ in rows} == {1}
    assert {length for _, _, length in rows} == {LARGE}


def test_any_pool_takes_it() -> None:
    handle = share("text")
    for _ in range(3):
        with ProcessPoolExecutor(1) as pool:
            assert pool.submit(str.upper, handle).result(DEADLINE) == "TEXT"


def test_what_one_worker_writes_nobody_else_sees() -> None:
    handle = share(Buffered(bytearray(LARGE)))
    with ProcessPoolExecutor(1) as one, ProcessPoolExecutor(1) as other:
        assert one.submit(overwrite, handle).result(DEADLINE) == 7
        assert other.submit(first, handle).result(DEADLINE) == 0
    assert first(handle.get()) == 0


def test_the_memory_goes_with_the_last_holder() -> None:
    before = held_parcels()
    with ProcessPoolExecutor(1) as pool:
        worker = pool.submit(os.getpid).result(DEADLINE)
        handle = share(Buffered(bytearray(LARGE)))
        assert pool.submit(first, handle).result(DEADLINE) == 0
        assert held_parcels() > before
        assert held_parcels(worker) > 0
        del handle
        gc.collect()
        assert held_parcels() == before
        # Not with the next task: the worker is told at once.
        eventually(lambda: held_parcels(worker) == 0)


def test_a_task_that_waits_keeps_it(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with ProcessPoolExecutor(1) as pool:
        blocked = pool.submit(Path.read_bytes, gate)
        with share([1, 2, 3]) as handle:
            waiting = pool.submit(len, handle)
        gate.write_bytes(b"go")
        assert blocked.result(DEADLINE) == b"go"
        assert waiting.result(DEADLINE) == 3


def test_a_replaced_worker_gets_it_again() -> None:
    handle = share([1, 2, 3])
    with ProcessPoolExecutor(1) as pool:
        for _ in range(3):
            assert pool.submit(len, handle).result(DEADLINE) == 3
            with pytest.raises(WorkerCrashed):
                pool.submit(os._exit, 1).result(DEADLINE)
        assert pool.submit(len, handle).result(DEADLINE) == 3


def test_a_killed_worker_leaves_nothing() -> None:
    shm, before = set(os.listdir("/dev/shm")), held_parcels()
    handle = share(Buffered(bytearray(LARGE)))
    with ProcessPoolExecutor(2) as pool:
        for _ in range(5):
            pid, _, _ = pool.submit(describe, handle).result(DEADLINE)
            os.kill(pid, signal.SIGKILL)
    handle.close()
    assert held_parcels() == before
    assert set(os.listdir("/dev/shm")) == shm


def test_more_objects_than_a_socket_takes_at_once() -> None:
    handles = [share(number) for number in range(400)]
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(sum, handles).result(DEADLINE) == sum(range(400))
        assert list(pool.map(abs, handles)) == list(range(400))


def test_initargs_may_be_shared() -> None:
    with ProcessPoolExecutor(1, initializer=len, initargs=(share([1]),)) as pool:
        assert pool.submit(abs, -1).result(DEADLINE) == 1


def test_pickled_elsewhere_it_is_a_copy() -> None:
    handle = share([1, 2])
    copy = pickle.loads(pickle.dumps(handle))
    assert isinstance(copy, Shared)
    handle.close()
    assert copy.get() == [1, 2]


def test_a_task_may_return_one() -> None:
    with ProcessPoolExecutor(1) as pool:
        handle = pool.submit(share, [5]).result(DEADLINE)
        assert pool.submit(sum, handle).result(DEADLINE) == 5


def test_a_closed_one_says_so() -> None:
    handle = share([1])
    handle.close()
    assert "closed" in repr(handle)
    with pytest.raises(ValueError, match="closed"):
        handle.get()
    with ProcessPoolExecutor(1) as pool, pytest.raises(ValueError, match="closed"):
        pool.submit(len, handle).result(DEADLINE)


def test_what_cannot_be_pickled_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        share(threading.Lock())
    assert share(share(1)).get() == 1
