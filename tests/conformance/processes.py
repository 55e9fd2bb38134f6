"""What CPython's runner arranges around the suite of processes."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
from collections.abc import Iterator

from tests.conformance.binding import chosen_target


def start_method(name: str) -> Iterator[None]:
    """Has processes started by this method; afterwards ends what is kept running for them."""
    before = multiprocessing.get_start_method(allow_none=True)
    chosen = chosen_target().multiprocessing
    chosen.set_start_method(name, force=True)
    yield
    multiprocessing.util._cleanup_tests()
    chosen.set_start_method(before, force=True)
