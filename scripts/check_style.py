#!/usr/bin/env python3
"""The house rules that no other linter knows: sizes, reasons beside atomics, tests that sleep.

A finding that has a reason stands in style_exceptions.txt: `path[:function]  the reason`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXCEPTIONS = ROOT / "scripts" / "style_exceptions.txt"

FILE_LINES = 500
FUNCTION_LINES = 80

# An ordering's reason may stand at the head of the statement that it is part of.
REASON_WITHIN = 8

RUST_FUNCTION = re.compile(
    r"^(\s*)(?:pub(?:\([^)]*\))? )?(?:(?:const|async|unsafe|extern \"C\") )*fn (\w+)"
)
ORDERED = re.compile(r"\b(Acquire|Release|AcqRel|SeqCst)\b\s*[,)]")
SLEEP = re.compile(r"\b(time\.sleep|thread::sleep)\(")
NO_REASON = re.compile(
    r"#\[ignore\]|@pytest\.mark\.(skip|xfail)\s*$|@(pytest\.mark|unittest)\.skip\(\)"
)
UNFINISHED = re.compile(r"\b(todo!|unimplemented!)\(")


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    text: str
    function: str = ""

    @property
    def key(self) -> str:
        return f"{self.path}:{self.function}" if self.function else self.path


def sources() -> list[Path]:
    """Every source that git knows or would add; without git, all there are."""
    patterns = ("*.rs", "*.py", "*.pyi")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        made = {ROOT / name for name in ("build", "target")}
        found = (file for pattern in patterns for file in ROOT.rglob(pattern))
        return sorted(file for file in found if made.isdisjoint(file.parents))
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def rust_functions(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """rustfmt puts a function's closing brace at the depth of its `fn`: no parser is needed."""
    for start, text in enumerate(lines):
        if not (head := RUST_FUNCTION.match(text)):
            continue
        for end in range(start, len(lines)):
            if lines[end] == head[1] + "}" or (end == start and lines[end].endswith(("}", ";"))):
                yield head[2], start + 1, end - start + 1
                break
            if end > start and lines[end].startswith(head[1] + ")") and lines[end].endswith(";"):
                break


def sizes(path: str, text: str) -> Iterator[Finding]:
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield Finding(path, 1, f"{len(lines)} lines, more than {FILE_LINES}")
    functions = rust_functions(lines) if path.endswith(".rs") else python_functions(text)
    for name, line, length in functions:
        if length > FUNCTION_LINES:
            yield Finding(
                path, line, f"{name} has {length} lines, more than {FUNCTION_LINES}", name
            )


def orderings(path: str, lines: list[str]) -> Iterator[Finding]:
    """Each non-relaxed atomic says what it pairs with. Tests and imports need not."""
    if not path.endswith(".rs") or "/tests/" in path or path.startswith("benches/"):
        return
    for index, text in enumerate(lines):
        if text.strip() == "mod tests {":
            return
        code = text.split("//")[0]
        if not ORDERED.search(code) or code.lstrip().startswith(
            ("use ", "pub use ", "pub(crate) use ")
        ):
            continue
        before = lines[max(0, index - REASON_WITHIN) : index + 1]
        if not any("ORDERING:" in near for near in before):
            yield Finding(path, index + 1, "a non-relaxed atomic without `// ORDERING:`")


def habits(path: str, lines: list[str]) -> Iterator[Finding]:
    is_test = path.startswith("tests/") or "/tests/" in path
    for number, text in enumerate(lines, 1):
        if is_test and SLEEP.search(text):
            yield Finding(path, number, "a test that sleeps: wait for the event itself")
        if NO_REASON.search(text):
            yield Finding(path, number, "skipped without a reason")
        if path.endswith(".rs") and UNFINISHED.search(text):
            yield Finding(path, number, "unfinished")


def findings(file: Path) -> Iterator[Finding]:
    path = file.relative_to(ROOT).as_posix()
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    yield from sizes(path, text)
    yield from orderings(path, lines)
    yield from habits(path, lines)


def exceptions() -> dict[str, str]:
    if not EXCEPTIONS.exists():
        return {}
    rows = (row.split(maxsplit=1) for row in EXCEPTIONS.read_text(encoding="utf-8").splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2 and not row[0].startswith("#")}


def main() -> int:
    excused = exceptions()
    found = [finding for file in sources() if file != Path(__file__) for finding in findings(file)]
    used = {finding.key for finding in found}
    wrong = [f"{f.path}:{f.line}: {f.text}" for f in found if f.key not in excused]
    wrong += [f"{EXCEPTIONS.name}: {key} needs no exception" for key in excused if key not in used]
    print("\n".join(wrong) or f"no findings; {len(excused)} exceptions with a reason")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
