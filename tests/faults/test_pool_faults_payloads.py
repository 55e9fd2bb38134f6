"""Faults 9 to 13: what cannot be pickled or unpickled, on either side."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counterpoint._process.errors import WorkerCrashed
from tests.processes import Meeting, ProcessPoolExecutor, identity, square, stay
from tests.support import DEADLINE

pytestmark = [pytest.mark.timeout(20), pytest.mark.usefixtures("nothing_left")]

PARENT = os.getpid()


class Odd(Exception):
    """Raised on the way."""


def raise_it(error: BaseException) -> Any:
    raise error


class RaisesWhenPickled:
    def __init__(self, error: type[BaseException] = Odd) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        raise self.error("on the way out")


class RaisesWhenUnpickled:
    def __init__(self, error: type[BaseException] = Odd) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_it, (self.error("on the way in"),)


class WantsANumber:
    """Unpickled without any code of Python's."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def notes_of(error: BaseException | None) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


class ExitsWhenUnpickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (5,)


class OnlyThere(Exception):
    """An exception that only a worker can make."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("one argument, where two are wanted")


def make(kind: type, *args: Any) -> Any:
    return kind(*args)


def raise_only_there() -> None:
    raise OnlyThere(1, 2)


def raise_unpicklable() -> None:
    error = Odd("carries a lock")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    raise error


def still_works(pool: ProcessPoolExecutor) -> None:
    futures = [pool.submit(square, number) for number in range(20)]
    assert [future.result(DEADLINE) for future in futures] == [n * n for n in range(20)]


@pytest.mark.parametrize("error", [Odd, SystemExit, TypeError, pickle.PicklingError])
def test_9_an_argument_whose_pickling_raises(error: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        before = pool.submit(square, 3)
        future = pool.submit(identity, RaisesWhenPickled(error))
        raised = future.exception(DEADLINE)
        assert isinstance(raised, error)
        assert before.result(DEADLINE) == 9
        still_works(pool)


def test_9_the_error_names_the_argument() -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(identity, {"key": [1, threading.Lock()]})
        with pytest.raises(TypeError, match=r"argument 1 .*identity.*\['key'\]\[1\]"):
            future.result(DEADLINE)


@pytest.mark.parametrize("error", [Odd, SystemExit, KeyboardInterrupt])
def test_10_an_argument_whose_unpickling_raises(error: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        raised = pool.submit(identity, RaisesWhenUnpickled(error)).exception(DEADLINE)
        assert isinstance(raised, error)
        assert notes_of(raised) == (
            "this was raised while unpickling the arguments of a call of 'identity', "
            f"by {__name__}.raise_it"
        )
        still_works(pool)


def test_10_the_error_names_what_was_unpickled() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(identity, [1, WantsANumber()]).exception(DEADLINE)
        assert isinstance(error, ValueError)
        assert notes_of(error) == (
            "this was raised while unpickling the arguments of a call of 'identity', "
            "whose pickle names builtins.int"
        )
        # A function that is sent by value is in the same pickle.
        error = pool.submit(lambda _: None, WantsANumber()).exception(DEADLINE)
        assert isinstance(error, ValueError)
        assert notes_of(error).startswith("this was raised while unpickling a call, whose pickle")
        error = next(iter_error(pool.map(identity, [WantsANumber()] * 100, timeout=DEADLINE)))
        assert "unpickling a call, whose pickle names" in notes_of(error)


def iter_error(results: Iterator[Any]) -> Iterator[BaseException]:
    try:
        list(results)
    except Exception as error:
        yield error


def test_10_a_function_whose_module_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text(
        f"import os\nif os.getpid() != {os.getpid()}:\n    raise LookupError\ndef f(): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("only_here")
    with ProcessPoolExecutor(1, initializer=sys.path.append, initargs=(str(tmp_path),)) as pool:
        error = pool.submit(module.f).exception(DEADLINE)
        assert isinstance(error, LookupError)
        assert notes_of(error) == (
            "this was raised while unpickling the function of a call, by module only_here"
        )
    del sys.modules["only_here"]


def test_10_an_argument_whose_unpickling_exits() -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(identity, ExitsWhenUnpickled())
        behind = pool.submit(square, 4)
        error = future.exception(DEADLINE)
        assert isinstance(error, WorkerCrashed)
        assert error.exitcode == 5
        assert behind.result(DEADLINE) == 16
        still_works(pool)


@pytest.mark.parametrize("error", [Odd, SystemExit])
def test_11_a_result_that_cannot_be_pickled(error: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert isinstance(pool.submit(RaisesWhenPickled, error).exception(DEADLINE), error)
        still_works(pool)


def test_11_the_error_names_the_part() -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(make_lock_in_list)
        with pytest.raises(TypeError, match=r"the result of the task, at \[1\]"):
            future.result(DEADLINE)


def make_lock_in_list() -> list[Any]:
    return [1, threading.Lock()]


@pytest.mark.parametrize("error", [Odd, SystemExit])
def test_12_a_result_that_cannot_be_unpickled_here(error: type[BaseException]) -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(RaisesWhenUnpickled, error)
        for _ in range(2):
            assert isinstance(future.exception(DEADLINE), error)
        assert notes_of(future.exception()) == (
            "this was raised while unpickling the result of a call of 'RaisesWhenUnpickled', "
            f"by {__name__}.raise_it"
        )
        still_works(pool)


def test_12_the_error_names_what_was_unpickled() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(WantsANumber).exception(DEADLINE)
        assert isinstance(error, ValueError)
        assert notes_of(error) == (
            "this was raised while unpickling the result of a call of 'WantsANumber', "
            "whose pickle names builtins.int"
        )
        future = pool.options(name="number").submit(lambda: WantsANumber())
        assert "the result of the task 'number'" in notes_of(future.exception(DEADLINE))
        assert "the result of a task" in notes_of(
            pool.submit(lambda: WantsANumber()).exception(DEADLINE)
        )


def test_12_with_a_callback_it_is_the_courier_that_meets_it() -> None:
    heard = threading.Event()
    with ProcessPoolExecutor(1) as pool:
        for error in (Odd, SystemExit, KeyboardInterrupt):
            heard.clear()
            future = pool.submit(RaisesWhenUnpickled, error)
            future.add_done_callback(lambda _: heard.set())
            assert heard.wait(DEADLINE)
            with pytest.raises(error):
                future.result(DEADLINE)
            still_works(pool)


def test_12_an_exception_that_cannot_be_unpickled_here() -> None:
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(pickle.UnpicklingError, match="OnlyThere"):
            pool.submit(raise_only_there).result(DEADLINE)
        with pytest.raises(TypeError, match=r"Odd.*carries a lock"):
            pool.submit(raise_unpicklable).result(DEADLINE)
        still_works(pool)


def test_13_unpicklable_tasks_then_shutdown() -> None:
    for _ in range(10):
        pool = ProcessPoolExecutor(2)
        futures = [pool.submit(identity, RaisesWhenPickled()) for _ in range(8)]
        futures += [pool.submit(square, number) for number in range(8)]
        futures += [pool.submit(RaisesWhenPickled) for _ in range(8)]
        pool.shutdown(cancel_futures=True)
        assert all(future.done() for future in futures)
        for future in futures[:8] + futures[16:]:
            assert future.cancelled() or isinstance(future.exception(), Odd)
        for number, future in enumerate(futures[8:16]):
            assert future.cancelled() or future.result() == number**2


class Counts:
    """Pickles differently while a task runs, whose arguments were encoded before."""

    def __init__(self) -> None:
        self.value = 0


def read(counts: Counts) -> int:
    return counts.value


def test_arguments_are_taken_when_submitted(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        busy = pool.submit(stay, meeting)
        meeting.arrived()
        counts = Counts()
        futures = []
        for value in range(10):
            counts.value = value
            futures.append(pool.submit(read, counts))
        meeting.let_go()
        busy.result(DEADLINE)
        assert [future.result(DEADLINE) for future in futures] == list(range(10))
