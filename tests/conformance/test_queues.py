"""CPython's suites, bound by suites.py: the group "queues"."""

from __future__ import annotations

from tests.conformance.binding import cases

globals().update(cases("queues", __name__))
