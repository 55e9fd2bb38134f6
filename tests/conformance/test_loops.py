"""CPython's suites, bound by suites.py: the group "loops"."""

from __future__ import annotations

from tests.conformance.binding import cases

globals().update(cases("loops", __name__))
