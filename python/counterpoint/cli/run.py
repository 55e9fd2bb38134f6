"""`counterpoint run PROGRAM`: start plain Python on the program, with our classes already in place.

How: this process *becomes* `python PROGRAM ARGS…` through `execve`. The new interpreter finds
`_start/sitecustomize.py` first on its path, which Python imports after its own set-up and before it
looks at the program. That module takes every trace of itself away (environment, path, sys.modules),
installs our classes and registers the summary as the first, hence last to run, atexit function.

Why not `runpy`, or compile and exec, in this process: then the program is a guest. Our frames are
in its tracebacks (trimming them through sys.excepthook fails as soon as the program has a hook of
its own) and count against its recursion limit; `__main__` is ours or a copy; the exit by signal
after Ctrl-C, the messages for a syntax error, a missing module or a missing file, a program on
stdin, `sys.orig_argv`, `-m` and archives all have to be imitated for five Python versions. Started
this way they are not imitated: CPython's own `main` does them. The process id, open
files, signal dispositions and the terminal survive `execve`. The price is one more start of the
interpreter.

Processes that the program starts run plain Python, unless they are forked: the environment they
inherit is the original one. Only the process that was started prints a summary.

What cannot work: `-I`, `-E` and `-S`, which tell Python to ignore the environment or to leave
`site` out.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from counterpoint.cli import GROUPS

__all__ = ["PREFIX", "Options", "environment", "interpreter_flags", "main", "parse"]

PREFIX = "COUNTERPOINT_RUN_"
"""What the names of the variables begin with that carry the options over `execve`."""

_HELP = """\
usage: counterpoint run [options] PROGRAM [ARGS...]
       counterpoint run [options] -m MODULE [ARGS...]

Run a program on Counterpoint's classes, as `python PROGRAM ARGS...` would, and say on stderr at its
end what its executors, event loops, queues and locks did. PROGRAM may also be a directory or zip
file with a __main__.py, `-` for standard input, or `-c CODE`.

options:
  --no-threading        leave threading.Lock, Condition, Event, ... as they are
  --no-queue            leave queue.Queue, SimpleQueue, ... as they are
  --no-futures          leave concurrent.futures as it is
  --no-asyncio          leave asyncio's event loop as it is
  --summary=FORM        text (default), json (one document, one line) or off
  --summary-file=PATH   write the summary to PATH instead of stderr
  -h, --help            show this

Options for Python itself go before the command: `python -X dev -m counterpoint run PROGRAM`.
"""
_FORMS = ("text", "json", "off")
_START = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_start")
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(_START)))


class UsageError(Exception):
    """The command line makes no sense; the text says why."""


class Options(NamedTuple):
    """A parsed command line."""

    groups: tuple[str, ...]
    """What to install: some of `threading`, `queue`, `futures`, `asyncio`."""
    summary: str
    """`text`, `json` or `off`."""
    summary_file: str | None
    """Where to write it; stderr if None."""
    command: tuple[str, ...]
    """What Python gets: the program and its arguments."""


def main(arguments: Sequence[str], flags: Sequence[str] = ()) -> int:
    """Become the program; returns an exit code only if that could not be done.

    Args:
        arguments: what follows `counterpoint run`.
        flags: options for the new interpreter.
    """
    if arguments and arguments[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0
    try:
        options = parse(arguments)
        _check_interpreter()
    except UsageError as problem:
        print(f"counterpoint run: {problem}\n{_HELP.splitlines()[0]}", file=sys.stderr)
        return 2
    return _become(options, flags)


def parse(arguments: Sequence[str]) -> Options:
    """Take our options off the front; everything from PROGRAM on belongs to Python.

    Raises:
        UsageError: for an unknown option, a missing value or a missing program.
    """
    rest = list(arguments)
    groups, summary, file = list(GROUPS), "text", None
    while rest and rest[0].startswith("--"):
        option, given, value = rest.pop(0).partition("=")
        if option == "--" and not given:
            break
        if option in ("--summary", "--summary-file"):
            if not given:
                value = rest.pop(0) if rest else ""
            if value.startswith("-"):
                raise UsageError(
                    f"{option} needs a value that does not begin with '-', not {value!r}"
                )
            if option == "--summary":
                summary = _form(value)
            else:
                file = _file(value)
        elif option.startswith("--no-") and option[5:] in GROUPS:
            if given:
                raise UsageError(f"{option} takes no value, not {value!r}")
            groups = [group for group in groups if group != option[5:]]
        else:
            raise UsageError(f"no option {option!r}")
    return Options(tuple(groups), summary, file, _command(rest))


def _form(value: str) -> str:
    if value not in _FORMS:
        raise UsageError(f"--summary is one of {', '.join(_FORMS)}, not {value!r}")
    return value


def _file(value: str) -> str:
    # Now and not at the end: the program may change its directory, and an hour's run deserves its
    # summary.
    path = os.path.abspath(value)
    if not value or os.path.isdir(path) or not os.path.isdir(os.path.dirname(path)):
        raise UsageError(f"--summary-file needs a file in an existing directory, not {value!r}")
    return path


def _command(rest: list[str]) -> tuple[str, ...]:
    if not rest:
        raise UsageError("which program?")
    first = rest[0]
    if first in ("-m", "-c") and len(rest) == 1:
        raise UsageError(f"{first} needs a value")
    if first.startswith("-") and first != "-" and first[:2] not in ("-m", "-c"):
        raise UsageError(f"no option {first!r}; Python's own go before `-m counterpoint`")
    return tuple(rest)


def _check_interpreter() -> None:
    if not sys.executable:
        raise UsageError("this interpreter does not know its own path (sys.executable is empty)")
    ignores = (
        ("-I", sys.flags.isolated),
        ("-E", sys.flags.ignore_environment),
        ("-S", sys.flags.no_site),
    )
    for flag, on in ignores:
        if on:
            raise UsageError(f"it cannot work under `python {flag}`, which turns its hook off")


def interpreter_flags(line: Sequence[str] = (), arguments: int = 0) -> list[str]:
    """The options that were given to the running interpreter itself.

    Args:
        line: the whole command line; that of this process if empty.
        arguments: how many of its last items are arguments of the program.

    >>> interpreter_flags(["python", "-X", "dev", "-um", "counterpoint", "run", "x.py"], 2)
    ['-X', 'dev', '-u']
    """
    if not line:
        line, arguments = sys.orig_argv, len(sys.argv) - 1
    head = list(line[1 : len(line) - arguments])
    simple = "[bBdEhiIOPqRsSuvVx]"  # the options without a value, which may be run together
    if not head:
        return []
    last = head.pop()
    if glued := re.match(f"-({simple}*)[mc].", last):
        kept = glued[1]
    elif head and (separate := re.fullmatch(f"-({simple}*)[mc]", head[-1])):
        head.pop()
        kept = separate[1]
    else:
        kept = ""  # a script
    return [*head, f"-{kept}"] if kept else head


def environment(options: Options, base: dict[str, str], flags: int = 0) -> dict[str, str]:
    """The environment in which Python starts with our hook; the hook restores `base` from it.

    The command is not in it: one variable holds less than a command line may. The hook finds it in
    `sys.orig_argv`, behind Python's name and its `flags`.
    """
    env = dict(base)
    env[PREFIX + "GROUPS"] = " ".join(options.groups)
    env[PREFIX + "SUMMARY"] = options.summary
    env[PREFIX + "FLAGS"] = str(flags)
    env[PREFIX + "ROOT"] = _ROOT
    if options.summary_file is not None:
        env[PREFIX + "FILE"] = options.summary_file
    path = base.get("PYTHONPATH")
    if path is not None:
        env[PREFIX + "PYTHONPATH"] = path
    env["PYTHONPATH"] = _START + os.pathsep + path if path else _START
    return env


def _become(options: Options, flags: Sequence[str]) -> NoReturn:
    command = [sys.executable, *flags, *options.command]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as they are where the descriptor is closed
            stream.flush()
    os.execve(sys.executable, command, environment(options, dict(os.environ), len(flags)))
