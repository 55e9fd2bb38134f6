"""Runs tests of one of CPython's asyncio modules on one loop, and writes what came of each.

`python -m tests.conformance.loop_child REQUEST REPLY`: the request is JSON, the reply JSON lines,
one when a test begins and one when it has ended, so that a hang or a crash is put down to its test.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import logging
import os
import signal
import sys
import unittest
import warnings
from collections.abc import Iterator
from typing import IO, Any

from tests import loops
from tests.conformance.default_loop import Maker, adapt, install, name_of, replace_test_loop

# What unittest says of a test's end, from bad to good.
STATES = ("failed", "skipped", "passed")


class Result(unittest.TestResult):
    """Writes a line for each test that begins, and one for each that has ended."""

    def __init__(self, reply: IO[str], maker: Maker, limit: float) -> None:
        super().__init__()
        self.reply, self.maker, self.limit = reply, maker, limit
        self.before = 0
        self.found: dict[str, str] = {}

    def tell(self, **line: object) -> None:
        """One line, at once."""
        print(json.dumps(line), file=self.reply, flush=True)

    def startTest(self, test: unittest.TestCase) -> None:
        """Set the watch: it prints every stack and ends the process, whatever holds the GIL."""
        super().startTest(test)
        faulthandler.dump_traceback_later(self.limit, exit=True)
        self.before, self.found = self.maker.made, {}
        self.tell(begins=name_of(test))

    def stopTest(self, test: unittest.TestCase) -> None:
        """Write the worst that was found."""
        faulthandler.cancel_dump_traceback_later()
        state = next((each for each in STATES if each in self.found), "passed")
        why, made = self.found.get(state, ""), self.maker.made - self.before
        self.tell(ended=name_of(test), state=state, why=why, loops=made)
        super().stopTest(test)

    def addError(self, test: Any, err: Any) -> None:
        """Anything that went wrong; outside of a test, in what is set up for several."""
        why = self._exc_info_to_string(err, test)
        if isinstance(test, unittest.TestCase):
            self.found["failed"] = why
        else:
            self.tell(ended=str(test), state="failed", why=why, loops=0)

    addFailure = addError

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        """A part of a test."""
        if err is not None:
            self.addError(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        """A test that skips itself; or what is set up for several, which then do not begin."""
        if isinstance(test, unittest.TestCase):
            self.found["skipped"] = reason
        else:
            self.tell(ended=str(test), state="skipped", why=reason, loops=0)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        """A test that CPython expects to fail."""
        self.found["failed"] = "unexpected success"


def flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests of a suite, in order."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from flat(each)
        else:
            yield each


def tests_of(request: dict[str, Any], maker: Maker) -> Iterator[unittest.TestCase]:
    """What the request wants run: those named, or all but those that are done."""
    loader = unittest.TestLoader()
    if request["suite"]:
        from tests.conformance.binding import bind, chosen_target
        from tests.conformance.suites import BY_NAME

        case = bind(BY_NAME[request["suite"]], chosen_target())
        found = loader.loadTestsFromTestCase(case)
    else:
        module = importlib.import_module(f"test.test_asyncio.{request['module']}")
        adapt(module, maker)
        found = loader.loadTestsFromModule(module)
    only, done = request["only"], set(request["done"])
    for test in flat(found):
        name = name_of(test)
        if name not in done and (only is None or name in only):
            yield test


def _arrange() -> None:
    """What test.regrtest and a terminal would have arranged."""
    from test import support

    # A shell's background job ignores it, and has that inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A test that logs an error has logging's last resort for it.
    logging.raiseExceptions = False
    # Some tests expect to need gigabytes, and take a few megabytes.
    support.max_memuse = support.real_max_memuse = 4 << 30


def main() -> None:
    """Read the request, run the tests, write the reply."""
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    _arrange()
    maker = install(loops.factory(request["loop"]))
    replace_test_loop(maker, request["invented"])
    with open(sys.argv[2], "a", encoding="utf-8") as reply, warnings.catch_warnings():
        warnings.simplefilter("default")
        result = Result(reply, maker, request["limit"])
        unittest.TestSuite(tests_of(request, maker)).run(result)
        result.tell(finished=True, made=maker.made)


if __name__ == "__main__":
    main()
    # A loop that is broken may have left threads that would keep the interpreter from ending.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
