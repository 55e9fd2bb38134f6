"""Ctrl-C, or the end of the program, while tasks run that never end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.programs import program
from tests.processes import Meeting

ENDLESS = """
from tests.processes import Guest
from counterpoint import multiprocessing
from counterpoint.futures import ProcessPoolExecutor

def endless(meeting):
    meeting.arrive()
    while True:
        signal.pause()

def say_so(meeting):
    signal.signal(signal.SIGTERM, lambda *_: meeting.arrive())

if __name__ == "__main__":
    meeting = Guest(*sys.argv[1:3])
"""

WITH = """
    with ProcessPoolExecutor(2) as pool:
        [pool.submit(endless, meeting) for _ in range(20)][0].result()
"""

WITHOUT = """
    pool = ProcessPoolExecutor(2)
    [pool.submit(endless, meeting) for _ in range(20)][0].result()
"""

POOL = """
    pool = multiprocessing.Pool(2)
    [pool.apply_async(endless, (meeting,)) for _ in range(20)][0].get()
"""

STUBBORN = """
    pool = ProcessPoolExecutor(2, initializer=say_so, initargs=(meeting,))
    try:
        with pool:
            [pool.submit(endless, meeting) for _ in range(20)][0].result()
    finally:
        # The second Ctrl-C, while the first is being obeyed.
        print("ended", flush=True)
"""


@pytest.mark.parametrize("how", [WITH, WITHOUT, POOL], ids=["with", "without", "Pool"])
def test_17_ctrl_c_once_ends_what_never_ends(how: str, meeting: Meeting, tmp_path: Path) -> None:
    with program(tmp_path, ENDLESS + how, *meeting.paths) as running:
        meeting.arrived(2)
        running.ctrl_c()
        status, _, errors = running.end()
    assert status == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


def test_17_ctrl_c_twice_ends_what_ignores_the_first(meeting: Meeting, tmp_path: Path) -> None:
    with program(tmp_path, ENDLESS + STUBBORN, *meeting.paths) as running:
        meeting.arrived(2)
        running.ctrl_c()
        meeting.arrived(2)  # both were asked to end, and do not
        assert running.process.poll() is None
        running.ctrl_c()
        status, out, _ = running.end()
    assert (status, out) == (-signal.SIGINT, "ended\n")


def test_20_a_pool_of_multiprocessing_ends_with_the_program(
    meeting: Meeting, tmp_path: Path
) -> None:
    pool = POOL.replace("[0].get()", "")
    with program(tmp_path, ENDLESS + pool + "    meeting.stay(0)\n", *meeting.paths) as running:
        meeting.arrived(3)
        meeting.let_go()
        # The tasks are at no meeting: they wait for a signal.
        status, _, errors = running.end()
    assert status == 0, errors


THREADED = """
    def work():
        threading.main_thread().join()
        with multiprocessing.Pool(2) as other:
            print(other.map(abs, [-1, -2]), pool.map(abs, [-3]), flush=True)
        pool.close()

    pool = multiprocessing.Pool(2)
    threading.Thread(target=work).start()
"""

PRINTED = """
    def fails():
        raise KeyboardInterrupt

    try:
        fails()
    except KeyboardInterrupt as error:
        # As those do who show an error of what they called, and go on.
        sys.last_exc = sys.last_value = error.with_traceback(error.__traceback__.tb_next)
    pool = ProcessPoolExecutor(1)
    pool.submit(print, "done", flush=True)
"""


def test_20_threads_that_outlive_the_main_one_keep_their_pools(
    meeting: Meeting, tmp_path: Path
) -> None:
    with program(tmp_path, ENDLESS + THREADED, *meeting.paths) as running:
        assert running.end() == (0, "[1, 2] [3]\n", "")


def test_20_an_interrupt_that_was_shown_and_survived_ends_nothing(
    meeting: Meeting, tmp_path: Path
) -> None:
    with program(tmp_path, ENDLESS + PRINTED, *meeting.paths) as running:
        assert running.end() == (0, "done\n", "")
