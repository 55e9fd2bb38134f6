"""Runs named steps one after another, each into a log, and ends with a table of what happened."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import IO

from .common import LOGS, ROOT, Command, Trouble, kill_running, run, say

TAIL = 80

# The last line of a pytest, nextest or cargo test run holds its counts, each in its own words.
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|ignored)\b")
SUMMARY = re.compile(
    r"^(=*\s*\d+ (passed|failed|skipped|error).* in [\d.]+|\s*Summary \[|test result:)",
    re.MULTILINE,
)


@dataclass
class Result:
    """What became of one step. A step that counts no tests is itself one that passed or failed."""

    name: str
    state: str
    seconds: float = 0.0
    note: str = ""
    passed: int = 0
    failed: int = 0


@dataclass
class Runner:
    """Collects results; `finish` prints them and says how the run went.

    Steps may be run by several threads: what is said of one is said at once.
    """

    results: list[Result] = field(default_factory=list)
    _saying: threading.Lock = field(default_factory=threading.Lock)

    def call(
        self,
        name: str,
        action: Callable[[IO[str]], int],
        *,
        counts: bool = False,
        notes: Callable[[str], str] | None = None,
    ) -> bool:
        """Runs `action(log)`, which returns an exit status. Returns whether the step passed.

        `notes` reads the log for what a step that passed has to say all the same.
        """
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / (re.sub(r"[^\w.-]+", "-", name) + ".log")
        started = time.monotonic()
        with open(log, "w", encoding="utf-8") as output:
            try:
                status = action(output)
            except Trouble as trouble:
                print(trouble, file=output, flush=True)
                status = 1
        text = log.read_text(encoding="utf-8", errors="replace")
        result = judge(name, status, text, counts)
        result.seconds = time.monotonic() - started
        if notes is not None and result.state == "ok":
            result.note = ", ".join(filter(None, (result.note, notes(text))))
        end = "\n".join(text.splitlines()[-TAIL:])
        self.add(result, f"---- the end of {log.relative_to(ROOT)}:\n{end}\n----")
        return result.state == "ok"

    def commands(
        self,
        name: str,
        commands: Sequence[Command],
        *,
        env: Mapping[str, str] | None = None,
        limit: float = 900,
        counts: bool = False,
        notes: Callable[[str], str] | None = None,
    ) -> bool:
        """Runs commands until one fails, within one time limit for all of them."""

        def action(output: IO[str]) -> int:
            end = time.monotonic() + limit
            for command in commands:
                print("$", *command, file=output, flush=True)
                status = run(
                    command, env=env, limit=max(1.0, end - time.monotonic()), output=output
                )
                if status:
                    if status == 124:
                        print(f"killed at its time limit of {limit:.0f} s", file=output, flush=True)
                    return status
            return 0

        return self.call(name, action, counts=counts, notes=notes)

    def not_run(self, name: str, why: str) -> None:
        self.add(Result(name, "not run", note=why))

    def failed_because(self, name: str, why: str) -> None:
        self.add(Result(name, "FAILED", note=why, failed=1))

    def add(self, result: Result, if_it_failed: str = "") -> None:
        with self._saying:
            self.results.append(result)
            say(line(result))
            if if_it_failed and result.state == "FAILED":
                say(if_it_failed)

    @property
    def passed(self) -> int:
        return sum(r.passed for r in self.results)

    @property
    def failed(self) -> int:
        return sum(r.failed for r in self.results)

    def finish(self, more: Sequence[str] = ()) -> int:
        """The table, what else there is to say, and the count; the exit status."""
        if len(self.results) > 1:
            say("\n" + "\n".join(map(line, self.results)))
        say("\n".join(more))
        say(f"\n{self.passed} passed, {self.failed} failed")
        # A command whose only step could not be run has shown nothing.
        return 1 if self.failed or not self.passed else 0


def in_lanes(count: int, actions: Iterable[Callable[[], object]]) -> None:
    """Does the actions, so many of them at a time; an error of one ends them all."""
    with ThreadPoolExecutor(count) as lanes:
        running = [lanes.submit(action) for action in actions]
        try:
            for ended in as_completed(running):
                ended.result()
        except BaseException:
            lanes.shutdown(wait=False, cancel_futures=True)
            kill_running()
            raise


def line(result: Result) -> str:
    return f"{result.state:8}{result.name:34}{result.seconds:7.1f} s  {result.note}".rstrip()


def judge(name: str, status: int, text: str, counts: bool) -> Result:
    """A bad status is a failure even where every counted test passed; so is a run of no tests."""
    totals = count(text) if counts else {}
    passed, failed = totals.get("passed", 0), totals.get("failed", 0) + totals.get("error", 0)
    note = ", ".join(f"{number} {word}" for word, number in totals.items())
    if counts and not passed and status == 0:
        return Result(name, "FAILED", note="it ran no tests", failed=1)
    if status == 0:
        return Result(name, "ok", note=note, passed=passed or 1)
    if status == 124:
        note = f"killed at its time limit {note}"
    return Result(
        name, "FAILED", note=note or f"status {status}", passed=passed, failed=failed or 1
    )


def count(text: str) -> dict[str, int]:
    """Sums the counts of every summary line: a run may hold several test binaries."""
    totals: dict[str, int] = {}
    for found in text.splitlines():
        if SUMMARY.match(found):
            for number, word in COUNT.findall(found):
                word = {"errors": "error", "ignored": "skipped"}.get(word, word)
                if int(number):
                    totals[word] = totals.get(word, 0) + int(number)
    return totals
