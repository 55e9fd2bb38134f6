"""Soft time limits: raised inside the task, once, and never in another one."""

from __future__ import annotations

import os
import pickle
import signal
import time

import pytest

from counterpoint._errors import SoftTimeout
from counterpoint._process.executor import ProcessPoolExecutor
from tests.support import DEADLINE


def spin() -> None:
    while True:
        pass


def clean_up() -> str:
    try:
        signal.pause()
    except TimeoutError as error:
        return f"cleaned up after {type(error).__name__}"
    return "never"


def spend(seconds: float) -> str:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return "done"


def use_alarm() -> str:
    def ring(*_: object) -> None:
        raise InterruptedError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        spend(DEADLINE)
    except InterruptedError:
        return "alarm"
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return "never"


def test_a_running_task_is_interrupted() -> None:
    with ProcessPoolExecutor(1) as pool:
        worker = pool.submit(os.getpid).result(DEADLINE)
        with pytest.raises(SoftTimeout, match=r"0\.05 s"):
            pool.options(soft_timeout=0.05).submit(spin).result(DEADLINE)
        # By itself: its process lives.
        assert pool.submit(os.getpid).result(DEADLINE) == worker


def test_a_sleeping_task_may_clean_up() -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.options(soft_timeout=0.05).submit(clean_up)
        assert future.result(DEADLINE) == "cleaned up after SoftTimeout"


def test_a_task_in_time_is_left_alone() -> None:
    with ProcessPoolExecutor(1) as pool:
        limited = pool.options(soft_timeout=DEADLINE)
        assert [limited.submit(abs, -n).result(DEADLINE) for n in range(100)] == list(range(100))


def test_the_next_task_is_never_hit() -> None:
    with ProcessPoolExecutor(1) as pool:
        # Ends about when its time is over, sooner or later.
        tight = pool.options(soft_timeout=0.0005)
        roomy = pool.options(soft_timeout=DEADLINE)
        hit = 0
        for round_ in range(300):
            first = tight.submit(spend, 0.0004 + 0.000001 * round_)
            others = [pool.submit(spend, 0.0002), roomy.submit(spend, 0.0002)]
            assert [other.result(DEADLINE) for other in others] == ["done", "done"]
            hit += isinstance(first.exception(DEADLINE), SoftTimeout)
        assert 0 < hit < 300


def test_alarms_are_the_tasks_own() -> None:
    with ProcessPoolExecutor(1) as pool:
        limited = pool.options(soft_timeout=DEADLINE)
        assert limited.submit(use_alarm).result(DEADLINE) == "alarm"


def test_the_hard_limit_comes_after_the_soft_one() -> None:
    with ProcessPoolExecutor(1) as pool:
        both = pool.options(soft_timeout=0.02, timeout=DEADLINE)
        with pytest.raises(SoftTimeout):
            both.submit(spin).result(DEADLINE)


def test_a_soft_timeout_is_retried_like_any_failure() -> None:
    with ProcessPoolExecutor(1) as pool:
        limited = pool.options(soft_timeout=0.02, retries=2)
        with pytest.raises(SoftTimeout):
            limited.submit(spin).result(DEADLINE)


def test_limits_are_checked() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(ValueError, match="soft_timeout"):
        pool.options(soft_timeout=0)
    error = pickle.loads(pickle.dumps(SoftTimeout("text")))
    assert isinstance(error, TimeoutError)
    assert error.args == ("text",)
