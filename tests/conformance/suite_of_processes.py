"""The private copy of CPython's suite of processes, by a name that other processes can import."""

from __future__ import annotations

import sys

from tests.conformance.binding import chosen_target, loaded
from tests.conformance.suites import BY_NAME

sys.modules[__name__] = loaded(BY_NAME["ProcessPool"], chosen_target())
