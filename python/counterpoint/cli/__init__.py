"""The `counterpoint` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["GROUPS", "main"]

GROUPS = ("threading", "queue", "futures", "asyncio")
"""What a run puts in place, unless it is told not to."""

_HELP = """\
usage: counterpoint run [options] PROGRAM [ARGS...]
       counterpoint --version | --help

commands:
  run    run a program on Counterpoint's locks, queues, executors and event loop, and say what
         they did
         (`counterpoint run --help` lists its options)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `run` replaces this process instead.

    Args:
        argv: the arguments after the command's name; `sys.argv[1:]` if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    match arguments:
        case ["run", *rest]:
            from counterpoint.cli import run

            return run.main(rest, run.interpreter_flags() if argv is None else ())
        case ["--version", *_]:
            from importlib.metadata import version

            print(f"counterpoint {version('counterpoint')}")
            return 0
        case ["-h" | "--help", *_]:
            print(_HELP, end="")
            return 0
        case []:
            problem = "which command? There is one: run"
        case [other, *_]:
            problem = f"no command {other!r}: there is one, run"
    print(f"counterpoint: {problem}\n{_HELP}", end="", file=sys.stderr)
    return 2
