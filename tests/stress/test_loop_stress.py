"""The checks of a loop's safety that need large numbers: cycles, timers, threads, interrupts."""

from __future__ import annotations

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


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("check", CHECKS)
def test_the_loop_under_test_is_safe(check: str) -> None:
    carry_out(loops.chosen(), check, MORE)
