"""CPython's suites, bound by suites.py: the group "locks"."""

from __future__ import annotations

from tests.conformance.binding import cases

globals().update(cases("locks", __name__))
