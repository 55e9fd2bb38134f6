"""examples/identifiers.py says the same each time, and counts what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "identifiers.py"


UNDER_OURS = ("-m", "counterpoint", "run")


def run_example(*arguments: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *under, str(EXAMPLE), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "good.py").write_text("alpha = beta\nbeta(alpha)  # alpha\n'beta'\n")
    (package / "other.py").write_text("def gamma(beta): return beta\n")
    (package / "unclosed.py").write_text("alpha = (\n")
    (package / "undecodable.py").write_bytes(b"alpha = '\xff'\n")
    (package / "unknown_coding.py").write_bytes(b"# coding: no-such-coding\nalpha\n")
    (package / "nowhere.py").symlink_to(tmp_path / "missing.py")
    (package / "not_python.txt").write_text("alpha")
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "installed.py").write_text("alpha\n")
    return tmp_path


def test_two_runs_over_the_library_say_the_same() -> None:
    first = run_example("--limit", "60", "--top", "10")
    second = run_example("--limit", "60", "--top", "10", "--workers", "3")
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert first.stdout.splitlines()[0].split()[:2] == ["60", "files,"]
    assert first.stdout == second.stdout


def test_under_counterpoint_run_it_says_the_same_and_a_summary_follows() -> None:
    plain = run_example("--limit", "60", "--top", "10")
    ours = run_example("--limit", "60", "--top", "10", under=UNDER_OURS)
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    head, *rest = ours.stderr.splitlines()
    assert head.startswith(f"counterpoint run {EXAMPLE} --limit 60")
    for kind in ("ThreadPoolExecutor", "Queue", "total: "):
        assert any(line.startswith(kind) for line in rest), ours.stderr


def test_counts_are_right_and_ties_are_alphabetical(small_tree: Path) -> None:
    result = run_example("--root", str(small_tree))
    assert result.stderr == ""
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "6 files, 4 of them unreadable as Python",
        "8 lines",
        "7 identifiers, 3 different ones",
        "",
        "1 4 beta",
        "2 2 alpha",
        "3 1 gamma",
    ]


@pytest.mark.parametrize("wrong", [("--limit", "0"), ("--top", "-1"), ("--limit", "many")])
def test_wrong_numbers_are_refused(wrong: tuple[str, str]) -> None:
    result = run_example(*wrong)
    assert result.returncode == 2
    assert wrong[1] in result.stderr


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    result = run_example("--root", str(tmp_path))
    assert result.returncode == 1
    assert "no Python files" in result.stderr
