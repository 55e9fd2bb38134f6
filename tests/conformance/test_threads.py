"""CPython's suites, bound by suites.py: the group "threads"."""

from __future__ import annotations

from tests.conformance.binding import cases

globals().update(cases("threads", __name__))
