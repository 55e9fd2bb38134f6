"""Runs CPython's asyncio tests on a loop in processes of their own: a hang costs its test alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from tests import loops

ROOT = Path(__file__).resolve().parents[2]

# Seconds after which a test counts as hung, and a whole process as lost.
LIMIT = 30.0
PROCESS_LIMIT = 240.0


@dataclass(frozen=True)
class Job:
    """Tests to run: of a suite bound by suites.py, or of a whole module on the default loop."""

    loop: str
    suite: str | None = None
    module: str | None = None
    # The tests that keep `TestLoop`, as patterns.
    invented: tuple[str, ...] = ()
    limit: float = LIMIT


@dataclass(frozen=True)
class Outcome:
    """What came of one test, and how many loops were made by the factory in it."""

    state: str
    why: str = ""
    loops: int = 0

    @property
    def is_passed(self) -> bool:
        """Whether it passed."""
        return self.state == "passed"


Outcomes = dict[str, Outcome]


def run(job: Job, only: Collection[str] | None = None) -> Outcomes:
    """Runs the job's tests, or those named; after a hang or a crash the rest in a new process."""
    outcomes: Outcomes = {}
    with tempfile.TemporaryDirectory() as directory:
        while True:
            lost = _run_once(job, only, outcomes, Path(directory))
            if lost is None:
                return outcomes
            name, state, why = lost
            if name in outcomes:
                raise RuntimeError(f"{job}: the process {state} outside of any test: {why}")
            outcomes[name] = Outcome(state, why)


def _run_once(
    job: Job, only: Collection[str] | None, outcomes: Outcomes, directory: Path
) -> tuple[str, str, str] | None:
    """One process. Adds what ended; the test in which the process did, how, and its last words."""
    request, reply = directory / "request", directory / "reply"
    wanted = {"only": None if only is None else sorted(only), "done": list(outcomes)}
    request.write_text(json.dumps(asdict(job) | wanted))
    reply.write_text("")
    code, said = _process([str(request), str(reply)], directory, job.loop)
    running = ""
    for text in reply.read_text().splitlines():
        line = json.loads(text)
        if "finished" in line:
            return None
        if "begins" in line:
            running = line["begins"]
        else:
            outcomes[line["ended"]] = Outcome(line["state"], line["why"], line["loops"])
            running = ""
    state = "hung" if code in (None, 1) and "Timeout (" in said else "crashed"
    return running, state, said[-4000:]


def _process(arguments: list[str], directory: Path, loop: str) -> tuple[int | None, str]:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.conformance.loop_child"]
    environment = os.environ | {loops.VARIABLE: loop, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command + arguments,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(PROCESS_LIMIT)
        except subprocess.TimeoutExpired:
            code = None
            output.write("Timeout (of the whole process)")
        finally:
            _end(process)
        output.seek(0)
        return code, output.read()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing that a test started is left running."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()
