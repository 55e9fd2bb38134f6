"""What a run says of the interpreters and of what it cut short, on a machine that is made up."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.devtools import commands, demo, interpreters, pytests, rust
from scripts.devtools.common import ROOT, TARGET
from scripts.devtools.interpreters import TAGS, Found, Interpreter
from scripts.devtools.steps import Result, Runner


def made_up(tag: str, **more: Any) -> Interpreter:
    told: dict[str, Any] = {"has_venv": True, "has_suite": True, **more}
    return Interpreter(tag, Path(f"/opt/{tag}/python"), "3.1x.0", ".so", **told)


def everywhere() -> Found:
    return Found({tag: made_up(tag) for tag in TAGS})


def some() -> Found:
    missing = dict.fromkeys(TAGS[2:], "not on PATH")
    missing["cp314"] = "left out by TAGS"
    return Found({tag: made_up(tag) for tag in TAGS[:2]}, missing)


class Steps(Runner):
    """Notes the commands that it is to run."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, list[Any], dict[str, str]]] = []

    def commands(self, name: str, commands: Any, **options: Any) -> bool:  # type: ignore[override]
        self.asked += [(name, [*map(str, each)], options.get("env") or {}) for each in commands]
        return True


class TestReport:
    def test_all_are_covered(self) -> None:
        found = everywhere()
        lines = pytests.report(found, list(found.chosen.values()))
        assert lines[:2] == ["", "interpreters covered:"]
        assert [line.split() for line in lines[2:]] == [
            [tag, "3.1x.0", f"/opt/{tag}/python"] for tag in TAGS
        ]

    def test_what_is_not_covered_has_its_reason_in_order(self) -> None:
        found = some()
        lines = pytests.report(found, [found.chosen["cp312"]])
        after = lines[lines.index("not covered:") + 1 :]
        assert [line.split(maxsplit=1) for line in after] == [
            ["cp311", "its build failed"],
            ["cp313", "not on PATH"],
            ["cp314", "left out by TAGS"],
            ["cp315", "not on PATH"],
            ["cp314t", "not on PATH"],
            ["cp315t", "not on PATH"],
        ]
        assert not any("cp311" in line for line in lines[: lines.index("not covered:")])

    def test_of_a_machine_without_any(self) -> None:
        lines = pytests.report(Found({}, {"cp313": "nowhere"}), [])
        assert lines == ["", "interpreters covered:", "not covered:", "  cp313   nowhere"]


class TestCoverage:
    def test_ci_wants_all_but_those_that_tags_leaves_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pytests, "IN_CI", True)
        runner = Runner()
        pytests.coverage(runner, everywhere())
        assert runner.results == []
        pytests.coverage(runner, some())
        (result,) = runner.results
        assert (result.name, result.state, result.failed) == ("all interpreters", "FAILED", 1)
        assert result.note.split("; ") == [
            f"{tag}: not on PATH" for tag in TAGS[2:] if tag != "cp314"
        ]

    def test_one_is_enough_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pytests, "IN_CI", False)
        runner = Runner()
        pytests.coverage(runner, some())
        assert runner.results == []


class TestCandidates:
    @pytest.fixture(autouse=True)
    def _machine(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("python3.11", "python3.14t", "python3", "python3.9"):
            self.make(tmp_path / "bin" / name)
        for version in ("3.11.2", "3.13.0", "3.9.1", "2.7.18"):
            self.make(tmp_path / "pyenv" / "versions" / version / "bin" / "python")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
        monkeypatch.setenv("PYTHONS_ROOT", str(tmp_path / "brought"))
        for name in ("PYTHON", "PYTHONS"):
            monkeypatch.delenv(name, raising=False)
        self.root = tmp_path

    def make(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)

    def listed(self) -> list[str]:
        return [str(each).replace(f"{self.root}/", "") for each in interpreters.candidates()]

    def test_in_the_order_of_preference(self) -> None:
        assert self.listed() == [
            sys.executable,
            "bin/python3.11",
            "bin/python3.14t",
            "bin/python3",
            "pyenv/versions/3.13.0/bin/python",
            "pyenv/versions/3.11.2/bin/python",
            "brought/sid/usr/bin/python3.14",
            "brought/sid/usr/bin/python3.15",
            "brought/3.14t/bin/python",
            "brought/3.15t/bin/python",
        ]

    def test_the_user_s_word_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONS", "/a/python /b/python:/c/python")
        monkeypatch.setenv("PYTHON", "/d/python")
        first = ["/a/python", "/b/python", "/c/python", "/d/python", sys.executable]
        assert self.listed()[:5] == first
        # `all` is no interpreter.
        monkeypatch.setenv("PYTHON", "all")
        assert self.listed()[:4] == [*first[:3], sys.executable]

    def test_what_does_not_run_is_none(self) -> None:
        broken = self.root / "bin" / "broken"
        self.make(broken)
        broken.write_text("#!/bin/sh\nexit 1\n")
        assert interpreters.probe_all([broken, "/nowhere"]) == []


class TestLent:
    LACKING = made_up("cp311", lacks=("test_concurrent_futures", "test_queue"))
    OWNER = made_up("cp313", tests="/opt/cp313/lib/test")

    @pytest.fixture(autouse=True)
    def _nothing_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(pytests.LENT, raising=False)

    def run(self, lender: Interpreter | None, everything: bool = False) -> Steps:
        steps = Steps()
        pytests.everything_on(steps, self.LACKING, everything=everything, lender=lender)
        return steps

    def test_an_installed_package_is_lent(self) -> None:
        steps = self.run(self.OWNER)
        name, command, env = steps.asked[-1]
        assert name == "conformance cp311, test_concurrent_futures of 3.1x.0"
        assert command[-1] == "tests/conformance/test_futures.py"
        assert env == {pytests.LENT: "/opt/cp313/lib/test"}
        # What nobody is known to lend is said to be missing.
        assert [result.name for result in steps.results] == ["conformance cp311, test_queue"]

    def test_the_suites_that_are_there_are_the_interpreter_s_own(self) -> None:
        steps = self.run(self.OWNER)
        assert [env for *_, env in steps.asked[:-1]] == [{}] * (len(steps.asked) - 1)

    def test_without_a_lender_nothing_is_run(self) -> None:
        steps = self.run(None)
        assert all(pytests.LENT not in env for *_, env in steps.asked)
        assert [result.state for result in steps.results] == ["not run"] * 2

    @pytest.mark.parametrize(
        "change",
        [{"has_suite": False}, {"tests": ""}, {"lacks": ("test_concurrent_futures",)}],
        ids=lambda change: next(iter(change)),
    )
    def test_one_that_has_no_such_tests_lends_none(self, change: dict[str, Any]) -> None:
        assert pytests.lender(Found({"cp313": self.OWNER})) is self.OWNER
        assert pytests.lender(Found({"cp313": replace(self.OWNER, **change)})) is None
        assert pytests.lender(Found({"cp312": self.OWNER})) is None

    def test_this_interpreter_says_where_its_tests_are(self) -> None:
        found = interpreters.probe(sys.executable)
        assert found is not None
        assert not found.has_suite or os.path.isfile(os.path.join(found.tests, "lock_tests.py"))


NEXTEST = """\
        SLOW [> 60.000s] (─────) counterpoint-shm models::cut
        SLOW [>120.000s] (─────) counterpoint-shm models::cut
     Summary [ 296.851s] 10 tests run: 10 passed (2 slow), 39 skipped
        SLOW [  65.338s] ( 4/10) counterpoint-shm models::cut
        SLOW [  59.093s] ( 8/10) counterpoint-sync models::whole
"""
CARGO_TEST = "test models::cut has been running for over 60 seconds\ntest models::cut ... ok\n"


class TestLoom:
    @pytest.fixture(autouse=True)
    def _bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("LOOM_MAX_DURATION", raising=False)

    @pytest.mark.parametrize("log", [NEXTEST, CARGO_TEST], ids=["nextest", "cargo test"])
    def test_a_model_that_was_cut_is_named(self, log: str) -> None:
        assert rust.cut_models(log) == "1 cut at 60 s: models::cut"

    def test_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert rust.cut_models("     Summary [ 2.851s] 10 tests run: 10 passed\n") == "none cut"
        monkeypatch.setenv("LOOM_MAX_DURATION", "600")
        assert rust.cut_models(NEXTEST) == "none cut"

    def test_a_test_that_is_named_so_late_is_one_that_was_cut(self) -> None:
        """nextest names those that took longer than the period of its profile."""
        text = (ROOT / ".config" / "nextest.toml").read_text(encoding="utf-8")
        profile = text.partition("[profile.loom]")[2]
        assert f'period = "{rust.LOOM_BOUNDS["LOOM_MAX_DURATION"]}s"' in profile

    def test_the_models_are_built_in_time_of_their_own(self) -> None:
        steps = Steps()
        rust.build_loom(steps)
        rust.loom(steps)
        (first, build, _), (second, run, env) = steps.asked
        assert (first, second) == ("build loom's models", "loom")
        assert build == [*run, "--no-run"]
        assert env["CARGO_TARGET_DIR"] == str(TARGET / "loom")

    def test_the_table_has_what_a_log_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = Runner()
        log = "test result: ok. 3 passed; 0 failed\n" + NEXTEST.splitlines()[3] + "\n"
        assert runner.call(
            "made-up models",
            lambda output: 0 * output.write(log) if not output.flush() else 0,
            counts=True,
            notes=rust.cut_models,
        )
        (result,) = runner.results
        assert result.note == "3 passed, 1 cut at 60 s: models::cut"


def test_the_demo_is_a_step_of_ci() -> None:
    steps = Steps()
    demo.demo_step(steps, made_up("cp312"))
    ((name, command, env),) = steps.asked
    assert (name, env) == ("demo", {"PYTHON": "/opt/cp312/python"})
    assert command == [sys.executable, str(ROOT / "scripts/dev.py"), "demo"]


@pytest.mark.parametrize("in_ci", [True, False])
@pytest.mark.parametrize("command", [commands.test, commands.test_all])
def test_where_the_demo_runs(
    command: Callable[[], int], in_ci: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    class Silent:
        BUILDS = ()

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    for module in ("prerequisites", "python_checks", "rust", "docs"):
        monkeypatch.setattr(commands, module, Silent())
    monkeypatch.setattr(pytests, "built", lambda *_: False)
    monkeypatch.setattr(commands, "IN_CI", in_ci)
    monkeypatch.setattr(pytests, "IN_CI", False)
    monkeypatch.setattr(interpreters, "discover", some)
    monkeypatch.setattr(commands, "wheels", lambda *_: ran.append("wheels"))
    monkeypatch.setattr(commands, "demo_step", lambda *_: ran.append("demo"))
    command()
    assert ran == (["wheels", "demo"] if in_ci or command is commands.test_all else [])


def test_a_result_is_as_before_without_notes() -> None:
    runner = Runner()
    runner.call("nothing", lambda _: 0)
    assert [(r.state, r.note) for r in runner.results] == [("ok", "")]
    assert isinstance(runner.results[0], Result)
