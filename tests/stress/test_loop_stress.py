"""The checks of a loop's safety that need large numbers: cycles, timers, threads, interrupts."""

from __future__ import annotations

import sys
import sysconfig

import pytest

from tests import loops
from tests.loop_checks.arena import MORE
from tests.loop_checks.running import carry_out

CHECKS = (
    "timers_never_early",
    "interrupt_in_callbacks",
    "interrupt_in_tasks",
    "interrupt_at_random",
    "threadsafe_calls",
    "threadsafe_one_by_one",
    "threadsafe_coroutines",
    "cycles_connections",
    "cycles_streams",
    "cycles_aborted",
    "cycles_tls",
)


# In 3.14 a handler that raises may do so before a coroutine that is about to begin, which then
# never does; with asyncio's loop, too.
FREE_THREADED_3_14 = sys.version_info[:2] == (3, 14) and bool(
    sysconfig.get_config_var("Py_GIL_DISABLED")
)


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("check", CHECKS)
def test_the_loop_under_test_is_safe(check: str) -> None:
    if check == "interrupt_at_random" and FREE_THREADED_3_14:
        pytest.skip("CPython 3.14 without a GIL fails this now and then, whatever the loop")
    carry_out(loops.chosen(), check, MORE)
