"""The steps that need cargo: formatting, clippy, tests, loom, ThreadSanitizer and Miri."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import venvs
from .build import cargo_env
from .common import CORE_CRATES, ROOT, TARGET, ask, check
from .interpreters import Found, Interpreter
from .steps import Runner

DENY = ["--", "-D", "warnings"]

# Backtraces need lines only; less to write and to link.
LEAN = {"CARGO_PROFILE_DEV_DEBUG": "line-tables-only"}

# A checker that slows each step down a hundredfold is worth compiling for; assertions stay on.
OPTIMISED = {"CARGO_PROFILE_DEV_OPT_LEVEL": "2"}

# Schedules grow steeply with the number of preemptions; three find nearly all that more would.
LOOM_BOUNDS = {"LOOM_MAX_PREEMPTIONS": "3", "LOOM_MAX_DURATION": "60", "LOOM_MAX_BRANCHES": "10000"}
# For running the models; building them has a limit of its own.
LOOM_LIMIT = 420
LOOM_BUILD_LIMIT = 900

# How a test that took so many seconds is named at the end of a nextest run, and in cargo test's
# output, which says it of those of a minute.
LONG_TEST = re.compile(r"^\s*SLOW \[\s*([\d.]+)s\](?: \([^)]*\))? (.+)$", re.MULTILINE)
A_MINUTE = re.compile(r"^\s*test (\S+) has been running for over (60) seconds$", re.MULTILINE)

BESIDE_THE_CHECKOUT = ROOT.parent / "shared" / "tools" / "tsan"


def env_of(directory: str, flags: str = "") -> dict[str, str]:
    """A target directory for each set of flags: in one, each turn would rebuild everything."""
    env = {"CARGO_TARGET_DIR": str(TARGET / directory), **LEAN}
    if flags:
        env["RUSTFLAGS"] = f"{os.environ.get('RUSTFLAGS', '')} {flags}".strip()
    return env


def loom_env() -> dict[str, str]:
    bounds = {name: os.environ.get(name) or bound for name, bound in LOOM_BOUNDS.items()}
    return env_of("loom", "--cfg loom") | OPTIMISED | bounds


def fmt(runner: Runner) -> None:
    runner.commands("cargo fmt", [["cargo", "fmt", "--all", "--check"]])


def clippy(runner: Runner, found: Found) -> None:
    """The core crates as built, the same under loom, and the binding with the GIL and without."""
    command = ["cargo", "clippy", "--all-targets"]
    runner.commands("clippy", [[*command, *CORE_CRATES, *DENY]], env=env_of("core"))
    runner.commands("clippy, loom", [[*command, *CORE_CRATES, *DENY]], env=loom_env())
    for interpreter in _one_of_each_kind(found):
        venvs.ensure(interpreter)  # the binding's build asks its Python
        binding = [*command, "--package", "counterpoint-python", *DENY]
        runner.commands(f"clippy, binding {interpreter.tag}", [binding], env=cargo_env(interpreter))


def _one_of_each_kind(found: Found) -> list[Interpreter]:
    primary = found.primary()
    free_threaded = [i for i in found.chosen.values() if i.free_threaded and i != primary]
    return [primary, *free_threaded[:1]]


# The load and the bare server that the benchmarks of event loops are measured with.
BENCH_PROGRAMS = ["cargo", "build", "--quiet", "--release", "--package", "counterpoint-bench"]


def build_bench_programs() -> None:
    check(BENCH_PROGRAMS, "building the programs of the benchmarks", env=env_of("bench"))


def bench_programs(runner: Runner) -> None:
    """Their tests need them."""
    runner.commands("build bench programs", [BENCH_PROGRAMS], env=env_of("bench"))


def test_command() -> list[str]:
    """nextest where it is installed: a process for each test, and one that hangs is killed."""
    if ask(["cargo", "nextest", "--version"]) is not None:
        return ["cargo", "nextest", "run", "--no-tests=fail"]
    return ["cargo", "test", "--no-fail-fast"]


def tests_command() -> list[str]:
    return [*test_command(), *CORE_CRATES, "--lib", "--bins", "--tests"]


def build_tests(runner: Runner) -> None:
    command = [*tests_command(), "--no-run"]
    runner.commands("build rust tests", [command], env=env_of("core"))


def tests(runner: Runner) -> None:
    env = env_of("core")
    runner.commands("rust tests", [tests_command()], env=env, counts=True)
    # nextest cannot run the examples in the documentation.
    runner.commands("rust doctests", [["cargo", "test", "--doc", *CORE_CRATES]], env=env)


def rustdoc(runner: Runner) -> None:
    command = ["cargo", "doc", "--no-deps", "--document-private-items", *CORE_CRATES]
    runner.commands("rustdoc", [command], env=env_of("core") | {"RUSTDOCFLAGS": "-D warnings"})


def loom_command() -> list[str]:
    command = test_command()
    if "nextest" in command:
        command += ["--profile", "loom"]
    return [*command, *CORE_CRATES, "--lib", "--tests"]


def build_loom(runner: Runner) -> None:
    command = [*loom_command(), "--no-run"]
    runner.commands("build loom's models", [command], env=loom_env(), limit=LOOM_BUILD_LIMIT)


def loom(runner: Runner) -> None:
    """The schedules within the bounds, which the environment may set otherwise.

    Every one of them, unless a model takes longer than LOOM_MAX_DURATION seconds: that ends it
    without a failure, and the table names the tests that took so long.
    """
    env, command = loom_env(), loom_command()
    runner.commands("loom", [command], env=env, limit=LOOM_LIMIT, counts=True, notes=cut_models)


def cut_models(log: str) -> str:
    """What a log says of models that may have been cut: the tests that took as long as that."""
    bound = float(loom_env()["LOOM_MAX_DURATION"])
    took = {name.split()[-1]: float(seconds) for seconds, name in LONG_TEST.findall(log)}
    took = took or {name: float(seconds) for name, seconds in A_MINUTE.findall(log)}
    cut = sorted(name for name, seconds in took.items() if seconds >= bound)
    return f"{len(cut)} cut at {bound:.0f} s: {', '.join(cut)}" if cut else "none cut"


# A test may fork while it has threads, and start others in the fork.
TSAN_OPTIONS = "halt_on_error=1 second_deadlock_stack=1 die_after_fork=0"


def tsan_command() -> tuple[list[str | Path], dict[str, str]] | None:
    """With a stand-in for cargo that instruments std too ($TSAN), or a nightly with rust-src."""
    given = [Path(os.environ["TSAN"])] if os.environ.get("TSAN") else []
    tools = [path for path in [*given, BESIDE_THE_CHECKOUT] if path.exists()]
    command: list[str | Path]
    if tools:
        # The stand-in appends a directory of its own to this one.
        command, env = [tools[0], "test"], env_of(".")
    elif has_nightly_source():
        command = ["cargo", "+nightly", "test", "-Zbuild-std", "--target", host()]
        env = env_of("tsan", "-Zsanitizer=thread")
    else:
        return None
    env |= OPTIMISED | {"TSAN_OPTIONS": TSAN_OPTIONS}
    return [*command, *CORE_CRATES, "--lib", "--tests"], env


def build_tsan(runner: Runner) -> None:
    if found := tsan_command():
        command, env = found
        runner.commands("build for ThreadSanitizer", [[*command, "--no-run"]], env=env)


def tsan(runner: Runner) -> None:
    if found := tsan_command():
        command, env = found
        runner.commands("ThreadSanitizer", [command], env=env, limit=900, counts=True)
    else:
        why = "needs `rustup toolchain install nightly -c rust-src`, or TSAN=tool"
        runner.not_run("ThreadSanitizer", why)


def has_nightly_source() -> bool:
    sysroot = ask(["rustc", "+nightly", "--print", "sysroot"])
    return bool(sysroot) and Path(str(sysroot), "lib/rustlib/src/rust/library/std").is_dir()


def host() -> str:
    told = ask(["rustc", "-vV"]) or ""
    return next(line.split()[1] for line in told.splitlines() if line.startswith("host:"))


def miri(runner: Runner) -> None:
    if ask(["cargo", "+nightly", "miri", "--version"]) is None:
        why = "needs `rustup toolchain install nightly -c miri,rust-src`"
        runner.not_run("miri", why)
        return
    command = ["cargo", "+nightly", "miri", "test", *CORE_CRATES, "--lib", "--tests"]
    # Time and the file system are the host's: waits with a timeout need the clock.
    env = env_of("miri") | {"MIRIFLAGS": os.environ.get("MIRIFLAGS") or "-Zmiri-disable-isolation"}
    runner.commands("miri", [command], env=env, limit=3600, counts=True)


# What the steps above need, to be compiled beside other things.
BUILDS = (build_loom, build_tsan, build_tests, bench_programs)
