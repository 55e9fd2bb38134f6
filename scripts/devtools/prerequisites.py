"""Says in one line what a fresh machine lacks and how to get it, before anything is built."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tomllib

from .common import ROOT, ask, fail

RUSTUP = "install Rust from https://rustup.rs"


def version_of(text: str | None) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", text or "")
    return tuple(map(int, found.groups())) if found else ()


def rust_version() -> str:
    with open(ROOT / "Cargo.toml", "rb") as file:
        version = tomllib.load(file)["workspace"]["package"]["rust-version"]
    return str(version)


def check_rust() -> None:
    wanted = rust_version()
    if shutil.which("cargo") is None:
        fail(f"cargo is missing: {RUSTUP} (version {wanted} or newer)")
    have = ask(["rustc", "--version"])
    if version_of(have) < version_of(wanted):
        fail(
            f"Rust {wanted} or newer is needed, this is {have or 'unusable'}: "
            f"run `rustup update`, or {RUSTUP}"
        )


def check_linker() -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        fail(
            "a C linker is missing: install a C compiler "
            "(Debian and Ubuntu: apt install gcc; Fedora: dnf install gcc)"
        )


def check_rust_tools() -> None:
    for tool, component in (("fmt", "rustfmt"), ("clippy", "clippy")):
        if ask(["cargo", tool, "--version"]) is None:
            fail(
                f"cargo {tool} is missing: rustup component add {component} "
                f"(or the distribution's package {component})"
            )


def check_venv() -> None:
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if any(importlib.util.find_spec(name) is None for name in ("venv", "ensurepip")):
        fail(
            f"Python's venv is missing for {sys.executable}: install it "
            f"(Debian and Ubuntu: apt install python{minor}-venv)"
        )


def check_all() -> None:
    check_venv()
    check_rust()
    check_linker()
