"""The command line itself: what is ours, what is Python's, and what makes no sense."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from counterpoint.cli import main, run
from tests.unit import programs

EVERYTHING = "threading queue futures asyncio"
NOTHING = ["--no-threading", "--no-queue", "--no-futures", "--no-asyncio", "x"]


@pytest.mark.parametrize(
    ("line", "groups", "summary", "command"),
    [
        (["x.py"], EVERYTHING, "text", ["x.py"]),
        (["x.py", "--summary=off", "-m"], EVERYTHING, "text", None),
        (["--no-queue", "-m", "pkg", "a"], "threading futures asyncio", "text", ["-m", "pkg", "a"]),
        (["--summary", "json", "-"], EVERYTHING, "json", ["-"]),
        (["--summary=off", "-cprint(1)"], EVERYTHING, "off", ["-cprint(1)"]),
        (NOTHING, "", "text", ["x"]),
        (["--", "x", "--", "y"], EVERYTHING, "text", ["x", "--", "y"]),
    ],
)
def test_options_end_where_the_program_begins(
    line: list[str], groups: str, summary: str, command: list[str] | None
) -> None:
    options = run.parse(line)
    assert " ".join(options.groups) == groups
    assert options.summary == summary
    assert list(options.command) == (line if command is None else command)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ([], "which program"),
        (["--summary=off"], "which program"),
        (["--summary=xml", "x"], "--summary is one of text, json, off, not 'xml'"),
        (["--summary"], "--summary is one of"),
        (["--summary-file=/nowhere/at/all", "x"], "existing directory"),
        (["--summary-file="], "existing directory"),
        (["--summary-file", "-c", "print(1)"], "--summary-file needs a value that does not begin"),
        (["--summary-file=-", "x"], "does not begin with '-', not '-'"),
        (["--summary", "-m", "x"], "--summary needs a value that does not begin with '-'"),
        (["--no-locks", "x"], "no option '--no-locks'"),
        (["--no-queue=1", "x"], "--no-queue takes no value, not '1'"),
        (["-m"], "-m needs a value"),
        (["-X", "dev", "x"], "Python's own go before"),
    ],
)
def test_a_senseless_line_is_refused(
    line: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *line]) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert "Traceback" not in err


def test_summary_file_is_resolved_before_the_program_changes_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.parse(["--summary-file", "s.txt", "x"]).summary_file == str(tmp_path / "s.txt")


@pytest.mark.parametrize(
    ("line", "arguments", "flags"),
    [
        ("python -m counterpoint run x", 2, ""),
        ("python -X dev -W error -m counterpoint run x", 2, "-X dev -W error"),
        ("python -um counterpoint run x", 2, "-u"),
        ("python -mcounterpoint run", 1, ""),
        ("python -Bumcounterpoint run", 1, "-Bu"),
        ("python -sP bin/counterpoint run x", 2, "-sP"),
        ("python -Xtracemalloc bin/counterpoint run x", 2, "-Xtracemalloc"),
        ("python", 0, ""),
    ],
)
def test_flags_of_the_interpreter_are_passed_on(line: str, arguments: int, flags: str) -> None:
    assert run.interpreter_flags(line.split(), arguments) == flags.split()


def test_the_environment_carries_the_options_and_keeps_the_rest() -> None:
    options = run.Options(("queue",), "json", None, ("x.py",))
    env = run.environment(options, {"HOME": "h", "PYTHONPATH": "a:b"}, 2)
    assert env["HOME"] == "h"
    assert env["PYTHONPATH"].endswith(":a:b")
    assert env[run.PREFIX + "PYTHONPATH"] == "a:b"
    assert run.PREFIX + "FILE" not in env
    assert env[run.PREFIX + "FLAGS"] == "2"


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    out = capsys.readouterr().out
    for option in (*NOTHING[:-1], "--summary", "--summary-file"):
        assert option in out


def test_main_without_sense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["fly"]) == 2
    assert "no command 'fly'" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_flags_that_turn_the_hook_off_are_refused(flag: str, tmp_path: Path) -> None:
    # The package is found through the path of this process, because -S and -I leave its own out.
    start = f"import sys; sys.path[:] = {sys.path!r}; from counterpoint.cli import main; main()"
    ended = programs.run([sys.executable, flag, "-c", start, "run", "x.py"], tmp_path)
    assert f"python {flag}" in ended.err or "python -I" in ended.err


def test_flags_reach_the_program(tmp_path: Path) -> None:
    show = "import sys; print(sys.flags.dev_mode, sys.flags.optimize, sys.stdout.write_through)"
    line = [sys.executable, "-X", "dev", "-OOu", *programs.QUIET[1:], "-c", show]
    assert programs.run(line, tmp_path) == (0, "True 2 True\n", "")


@pytest.mark.parametrize("line", [["--help"], ["run", "--help"]])
def test_help_can_be_shown_anywhere(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 0
    assert capsys.readouterr().out.isascii()
