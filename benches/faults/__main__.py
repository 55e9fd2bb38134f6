"""`python -m benches.faults [--pools …] [--cases …]`: runs every fault against every pool."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .cases import CASES, judge
from .page import PAGE, RESULTS, write
from .pools import POOLS, installed, version

ROOT = Path(__file__).resolve().parents[2]

# A program of its own, whose main module every start method can import.
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
if __name__ == "__main__":
    from benches.faults.cases import judge
    verdict = judge({pool!r}, {case!r})
    print("VERDICT", verdict, flush=True)
"""

# Of these the program does not live to say how they went.
ENDED_BY_CTRL_C = ("interrupted", "interrupted_once")

NO_SHM = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.faults", description=__doc__)
    parser.add_argument("--pools", nargs="*", default=list(POOLS), choices=list(POOLS))
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.name} and the page")
    asked = parser.parse_args()
    # Ignored, as a shell has it for what runs in the background, it would be in the programs too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pools = [name for name in asked.pools if installed(name)]
    results = {case: run_case(case, pools) for case in asked.cases}
    if asked.keep:
        record = merged(results, pools)
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
        write(record)
        print(f"written: {RESULTS} and {PAGE}")


def merged(results: dict[str, dict[str, Any]], pools: list[str]) -> dict[str, Any]:
    """What was kept before, and this run's in its place where it ran."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    versions = {**kept.get("versions", {}), **{name: version(name) for name in pools}}
    old = kept.get("results", {})
    rows = {case: {**old.get(case, {}), **results.get(case, {})} for case in CASES}
    whole = {case: row for case, row in rows.items() if set(row) == set(versions)}
    return {"python": platform.python_version(), "versions": versions, "results": whole}


def run_case(case: str, pools: list[str]) -> dict[str, list[Any]]:
    row = {}
    for name in pools:
        began = time.monotonic()
        verdict, text = run(case, name)
        row[name] = [verdict, text[:200], round(time.monotonic() - began, 1)]
        print(f"{CASES[case].title:60} {name:22} {verdict:16} {text[:100]}", flush=True)
    return row


def run(case: str, name: str) -> tuple[str, str]:
    """The verdict, and why."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "program.py")
        path.write_text(PROGRAM.format(root=str(ROOT), pool=name, case=case))
        marks = Path(directory, "marks")
        marks.mkdir()
        environment = {**os.environ, "COUNTERPOINT_DIRECTORY": str(marks)}
        with open(Path(directory, "out"), "w+") as out:
            process = subprocess.Popen(
                [*prefix(case), sys.executable, str(path)],
                stdout=out,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
            hung = waits_too_long(process, CASES[case].limit)
            left = clean_up(directory)
            out.seek(0)
            said = [line for line in out if line.startswith("VERDICT ")]
        return conclude(case, said, hung, left, len(list(marks.glob("[0-9]*"))))


def prefix(case: str) -> tuple[str, ...]:
    if case == "no_shm" and shutil.which("unshare"):
        return (*NO_SHM, 'mount -t tmpfs -o ro none /dev/shm; exec "$@"', "sh")
    return ()


def waits_too_long(process: subprocess.Popen[Any], limit: float) -> bool:
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def clean_up(directory: str) -> int:
    """Kills the processes that the program left behind; how many there were a second later."""
    mark = f"COUNTERPOINT_DIRECTORY={directory}/marks".encode()
    end = time.monotonic() + 1.0
    while (left := marked(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return len(left)


def marked(mark: bytes) -> list[int]:
    """Processes with this in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                found.append(int(entry))
    return found


def conclude(case: str, said: list[str], hung: bool, left: int, marks: int) -> tuple[str, str]:
    verdict, _, text = (said[-1][8:].strip() if said else "pool lost|the program died").partition(
        "|"
    )
    if verdict in ("no such option", "not run"):
        return verdict, text
    if hung:
        # What it had lost before is in what it said, if it came that far.
        return "hang", text if said else ""
    if case == "exit_with_work" and verdict == "correct" and marks < 30:
        return "task lost", f"{30 - marks} of 30 tasks were not run"
    if case in ENDED_BY_CTRL_C and not said:
        verdict, text = "correct", ""
    if left and verdict == "correct" and case != "child_left":
        return "left behind", f"{left} processes"
    return verdict, text


if __name__ == "__main__":
    assert judge
    main()
