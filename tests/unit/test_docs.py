"""The documentation is true: its examples run, its links resolve, and it leaves no name out.

Of a page's code blocks, those in `python` run one after the other in one namespace; an `output`
block right after one holds what it prints. One that starts with a comment `# name.py` is a file
instead, for the `console` blocks of its page, whose commands must succeed. A block that is not run
follows a line `<!-- not run: the reason -->`.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import json
import pkgutil
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import counterpoint
from tests.unit.programs import environment

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(
    page for page in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")) if "_generated" not in page.parts
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
COMMANDS = {
    "python": [sys.executable],
    "counterpoint": [sys.executable, "-m", "counterpoint"],
}
MODULES = ("threading", "queue", "futures", "multiprocessing")

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>\S[^\n]*) -->\n\n?)?"
    r"```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^```$",
    re.M | re.S,
)
FILE_NAME = re.compile(r"# (\w+\.py)\n")
LINK = re.compile(r"(?<!`)\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^()\s]+)\)")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    expected: str | None


def blocks(page: Path) -> Iterator[Block]:
    """The blocks to run; an `output` block belongs to the one before it."""
    text = page.read_text(encoding="utf-8")
    found = [match for match in FENCE.finditer(text) if match["language"] != "{eval-rst}"]
    for match, following in zip_longest(found, found[1:]):
        if match["reason"] or match["language"] == "output":
            continue
        shown = following if following and following["language"] == "output" else None
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(match["language"], match["text"], line, shown["text"] if shown else None)


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The namespace of a module of its own; what a page installs is taken back."""
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    yield vars(module)
    counterpoint.uninstall()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_examples(page: Path, namespace: dict[str, Any], tmp_path: Path) -> None:
    files: set[str] = set()
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.language == "python" and (name := FILE_NAME.match(block.text)):
            (tmp_path / name[1]).write_text(block.text, encoding="utf-8")
            files.add(name[1])
        elif block.language == "python":
            run_python(block, namespace, page, where)
        elif block.language == "console":
            files -= run_console(block, tmp_path, where)
    assert not files, f"{files} stand on the page and are never run"


def run_python(block: Block, namespace: dict[str, Any], page: Path, where: str) -> None:
    """The blank lines make a traceback name the line of the page."""
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    if block.expected is not None:
        assert printed.getvalue() == block.expected, where
    else:
        assert not printed.getvalue(), f"{where} prints what the page does not show"


def run_console(block: Block, directory: Path, where: str) -> set[str]:
    """Runs the commands that this package and Python provide; returns the words they consist of."""
    used: set[str] = set()
    commands = re.findall(r"^\$ (.*)$", block.text, re.M)
    assert commands, f"{where} has no command"
    for line in commands:
        first, *rest = shlex.split(line)
        assert first in COMMANDS, f"{where}: {first} is neither ours nor Python"
        done = subprocess.run(
            [*COMMANDS[first], *rest],
            cwd=directory,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == 0, f"{where}: {done.stderr}"
        if block.expected is not None:
            assert done.stdout == block.expected, where
        used.update(rest)
    return used


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", prose, re.M)
    words = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in words}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(prose):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.is_relative_to(ROOT), f"{target} leaves the project"
        assert to.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in slugs(to), f"{to.name} has no heading #{anchor}"


@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_ours_is_in_the_reference(name: str) -> None:
    module = importlib.import_module(f"counterpoint.{name}")
    page = (REFERENCE / f"{name}.md").read_text(encoding="utf-8")
    ours = [
        public
        for public in module.__all__
        if str(getattr(vars(module).get(public), "__module__", "")).startswith("counterpoint")
    ]
    assert ours
    # ShutDown is the standard library's from Python 3.13 on.
    described = set(re.findall(rf":: counterpoint\.{name}\.(\w+)(?:\(.*\))?$", page, re.M))
    assert set(ours) <= described <= set(module.__all__)


def test_every_name_of_the_package_is_in_the_reference() -> None:
    page = (REFERENCE / "package.md").read_text(encoding="utf-8")
    assert [name for name in counterpoint.__all__ if f"`{name}`" not in page] == []


def other_modules() -> Iterator[str]:
    """All but the public ones, whose examples test_doctests.py runs."""
    yield "counterpoint"
    for found in pkgutil.walk_packages(counterpoint.__path__, "counterpoint."):
        last = found.name.rpartition(".")[2]
        if last not in (*MODULES, "__main__", "sitecustomize"):
            yield found.name


@pytest.mark.parametrize("name", list(other_modules()))
def test_docstrings_of_other_modules(name: str) -> None:
    module = importlib.import_module(name)
    try:
        assert doctest.testmod(module).failed == 0
    finally:
        counterpoint.uninstall()


def test_every_option_is_in_the_reference() -> None:
    page = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [*COMMANDS["counterpoint"], "run", "--help"], capture_output=True, text=True, check=True
    )
    options = set(re.findall(r"--[a-z-]+", done.stdout))
    assert options
    assert set(re.findall(r"^\| `(--[a-z-]+)", page, re.M)) == options


def test_the_json_summary_follows_its_schema(tmp_path: Path) -> None:
    schema = json.loads((REFERENCE / "summary.schema.json").read_text(encoding="utf-8"))
    summary = tmp_path / "summary.json"
    program = (
        "import asyncio, queue, threading\n"
        "from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "async def main(): threading.Event().wait(0.2)\n"
        "asyncio.run(main())\n"
        "with Pool(1) as pool: pool.submit(queue.Queue(3).put, threading.Lock()).result()"
    )
    options = ["run", "--summary=json", f"--summary-file={summary}", "-c", program]
    subprocess.run([*COMMANDS["counterpoint"], *options], env=environment(), check=True)
    document = json.loads(summary.read_text(encoding="utf-8"))
    kinds = {"ThreadPoolExecutor", "Queue", "Lock", "EventLoop"}
    assert {row["kind"] for row in document["rows"]} >= kinds
    assert document["totals"]["stalls"] == 1
    assert list(violations(document, schema, schema)) == []


KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def violations(
    value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$"
) -> Iterator[str]:
    """What contradicts a schema, as far as ours goes: the keywords below, and no others."""
    known = {"$schema", "$defs", "$ref", "title", "description", "type", "const", "minimum"}
    known |= {"properties", "required", "additionalProperties", "items", "anyOf"}
    assert schema.keys() <= known
    if "$ref" in schema:
        yield from violations(value, root["$defs"][schema["$ref"].split("/")[-1]], root, at)
    if "anyOf" in schema and all(list(violations(value, s, root, at)) for s in schema["anyOf"]):
        yield f"{at} is none of the alternatives"
    listed = schema.get("type", [])
    allowed = [listed] if isinstance(listed, str) else listed
    if allowed and not any(isinstance(value, KINDS[kind]) for kind in allowed):
        yield f"{at} is {value!r}, not {allowed}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{at} is {value!r}, not {schema['const']!r}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{at} is {value!r}, less than {schema['minimum']}"
    for number, item in enumerate(value if "items" in schema else ()):
        yield from violations(item, schema["items"], root, f"{at}[{number}]")
    if "properties" in schema:
        known_keys = schema["properties"]
        yield from (f"{at}.{key} is missing" for key in schema["required"] if key not in value)
        yield from (f"{at}.{key} is not described" for key in value if key not in known_keys)
        for key in known_keys.keys() & value.keys():
            yield from violations(value[key], known_keys[key], root, f"{at}.{key}")
