"""The project's commands: what a fresh machine lacks is said in a line, and runs are judged."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.devtools import commands, interpreters, prerequisites, pytests
from scripts.devtools.common import Trouble
from scripts.devtools.interpreters import Found, Interpreter
from scripts.devtools.steps import Result, Runner

ROOT = Path(__file__).parents[2]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def interpreter(tag: str, path: str, suite: bool = True) -> Interpreter:
    return Interpreter(tag, Path(path), "3.13.0", ".so", has_venv=True, has_suite=suite)


def trouble(step: object) -> str:
    """The one line that a check fails with."""
    assert callable(step)
    with pytest.raises(Trouble) as caught:
        step()
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestPrerequisites:
    @pytest.fixture(autouse=True)
    def _empty_machine(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

    def test_no_cargo(self) -> None:
        text = trouble(prerequisites.check_rust)
        assert text.startswith("cargo is missing: install Rust from https://rustup.rs (version 1.")

    @pytest.mark.parametrize("said", ["rustc 1.60.0 (abc 2022-01-01)", "nonsense", ""])
    def test_an_old_rust(self, tmp_path: Path, said: str) -> None:
        script(tmp_path / "cargo", "exit 0")
        script(tmp_path / "rustc", f"echo '{said}'")
        text = trouble(prerequisites.check_rust)
        assert text.startswith(f"Rust {prerequisites.rust_version()} or newer is needed, this is ")
        assert (said or "unusable") in text
        assert "rustup update" in text

    def test_a_new_rust(self, tmp_path: Path) -> None:
        script(tmp_path / "cargo", "exit 0")
        script(tmp_path / "rustc", f"echo 'rustc {prerequisites.rust_version()}.1'")
        prerequisites.check_rust()

    def test_no_linker(self, tmp_path: Path) -> None:
        text = trouble(prerequisites.check_linker)
        assert text.startswith("a C linker is missing: install a C compiler (Debian and Ubuntu:")
        script(tmp_path / "clang", "exit 0")
        prerequisites.check_linker()

    def test_no_formatter(self, tmp_path: Path) -> None:
        script(tmp_path / "cargo", '[ "$1" = clippy ]')
        text = trouble(prerequisites.check_rust_tools)
        assert text.startswith("cargo fmt is missing: rustup component add rustfmt")

    @pytest.mark.parametrize("missing", ["venv", "ensurepip"])
    def test_no_venv(self, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == missing else find(name)
        )
        text = trouble(prerequisites.check_venv)
        assert text.startswith(f"Python's venv is missing for {sys.executable}: install it")
        assert f"apt install python3.{sys.version_info[1]}-venv" in text

    def test_a_command_says_it_on_stderr(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert commands.main(["tsan"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("cargo is missing: ")
        assert err.count("\n") == 1

    def test_an_unsupported_interpreter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = dict.fromkeys(("version", "suffix"), "") | {"venv": True, "suite": True, "lacks": []}
        told |= {"name": "cpython", "tag": "cp310", "executable": None, "tests": ""}
        old = script(tmp_path / "python", f"echo '{json.dumps(told)}'")
        monkeypatch.setenv("PYTHON", str(old))
        text = trouble(interpreters.one)
        assert text.startswith(f"{old} is cp310: Counterpoint supports cp311 cp312 ")
        monkeypatch.setenv("PYTHON", "/nowhere/python")
        assert trouble(interpreters.one).endswith("set PYTHON=/path/to/python, 3.11 or newer")


def test_the_commands_need_a_recent_python(tmp_path: Path) -> None:
    # A shim that runs nothing, and older versions, in place of every Python of this machine.
    for tool in ("dirname", "tr"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    script(tmp_path / "python3", "exit 1")
    nowhere = {name: str(tmp_path) for name in ("PATH", "PYENV_ROOT", "PYTHONS_ROOT", "HOME")}
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts/dev"), "develop"],
        capture_output=True,
        text=True,
        timeout=50,
        env=nowhere,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Python 3.11 or newer is missing: install it (Debian and Ubuntu:")
    assert done.stderr.count("\n") == 1


class TestDiscovery:
    def test_the_user_s_word_comes_before_a_better_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = {
            "/theirs": interpreter("cp313", "/theirs", suite=False),
            "/found": interpreter("cp313", "/found"),
            "/bare": interpreter("cp312", "/bare", suite=False),
            "/full": interpreter("cp312", "/full"),
        }
        monkeypatch.setattr(interpreters, "probe", known.get)
        monkeypatch.setattr(
            interpreters, "candidates", lambda: [*interpreters.named_by_user(), *known]
        )
        monkeypatch.delenv("TAGS", raising=False)
        monkeypatch.setenv("PYTHONS", "/theirs")
        chosen = interpreters.discover().chosen
        assert chosen == {"cp312": known["/full"], "cp313": known["/theirs"]}
        monkeypatch.setenv("PYTHONS", "/nowhere")
        assert trouble(interpreters.discover).startswith("PYTHONS names /nowhere, which does not")

    def test_this_interpreter(self) -> None:
        found = interpreters.probe(sys.executable)
        assert found is not None
        assert found.path == Path(getattr(sys, "_base_executable", sys.executable))
        for module in ("test_queue", "test_concurrent_futures"):
            is_there = importlib.util.find_spec("test") and importlib.util.find_spec(
                f"test.{module}"
            )
            assert (module in found.lacks) is not bool(is_there)


def test_benchmarks_run_on_both_free_threaded_builds() -> None:
    assert {"cp314t", "cp315t"} <= set(commands.BENCH_TAGS) <= set(interpreters.TAGS)


def test_what_runs_as_tests_exists() -> None:
    assert pytests._existing(pytests.SUITES) == [f"tests/{name}" for name in pytests.SUITES]


def test_a_suite_that_is_not_installed_is_a_step_that_was_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Runner, "commands", lambda *_, **__: True)
    monkeypatch.delenv(pytests.LENT, raising=False)
    runner = Runner()
    lacking = Interpreter(
        "cp311", Path("/x"), "3.11.7", ".so", True, True, ("test_concurrent_futures",)
    )
    pytests.everything_on(runner, lacking, everything=True)
    (result,) = runner.results
    assert result == Result(
        "conformance cp311, test_concurrent_futures",
        "not run",
        note="CPython 3.11.7 is installed without test.test_concurrent_futures",
    )
    monkeypatch.setenv(pytests.LENT, os.curdir)
    pytests.everything_on(runner, lacking, everything=True)
    assert runner.results == [result]


def test_a_run_that_ran_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner()
    runner.not_run("miri", "needs a nightly")
    assert runner.finish() == 1
    assert "0 passed, 0 failed" in capsys.readouterr().out
    runner.add(Result("rust tests", "ok", passed=3))
    assert runner.finish() == 0
    runner.failed_because("all interpreters", "none")
    assert runner.finish() == 1


def test_without_any_interpreter_there_is_no_primary_one() -> None:
    assert trouble(Found().primary).startswith("no supported interpreter found: name one with")
