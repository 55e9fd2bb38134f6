"""Sphinx configuration. `make docs` builds with --nitpicky and --fail-on-warning, offline."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
GENERATED = Path(__file__).resolve().parent / "_generated"
sys.path.insert(0, str(ROOT))

from tests.conformance.deviations import deviations_markdown  # noqa: E402
from tests.loop_checks import known as loop_checks  # noqa: E402

project = "Counterpoint"
author = "the Counterpoint developers"
project_copyright = author
html_title = "Counterpoint"
html_theme = "furo"
html_copy_source = False
html_show_copyright = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated"]
needs_sphinx = "8.0"

# Headings of the first three levels can be linked to.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# Docstrings write `code` in single backticks.
default_role = "literal"
add_module_names = False
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

# Our own names must resolve. Those of the standard library and the type variables have no page
# here, and looking them up would need the network.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!counterpoint\.).*"),
    (r"py:.*", r"counterpoint\._.*"),
    (r"py:.*", r"counterpoint\.\w+\._\w+"),  # variables of types
]


def write_generated(_: Sphinx) -> None:
    """Writes what other pages include: the conformance suite's table, and that of event loops."""
    GENERATED.mkdir(exist_ok=True)
    (GENERATED / "deviations.md").write_text(deviations_markdown(), encoding="utf-8")
    (GENERATED / "loop_safety.md").write_text(loop_checks.markdown(), encoding="utf-8")


def adapt_docstring(
    _: Sphinx, what: str, __: str, ___: object, ____: object, lines: list[str]
) -> None:
    """Makes of a docstring what napoleon takes for what was meant."""
    if what in ("attribute", "property") and lines:
        # "Who holds it: an ident or a task" is no type with a description.
        lines[0] = lines[0].replace(": ", " – ", 1)
    elif lines and "`" not in lines[0]:
        # "fn(*args)" has no emphasis.
        lines[0] = lines[0].replace("*", r"\*")
    adapted: list[str] = []
    for line in lines:
        if line.startswith(NOTES) and adapted and adapted[-1]:
            adapted.append("")
        adapted.append(line)
    lines[:] = adapted


def adapt_signature(
    _: Sphinx, __: str, ___: str, ____: object, _____: object, signature: str, returns: str
) -> tuple[str, str]:
    """Makes of a signature what Sphinx can parse: parameter specifications, classes as defaults."""
    if signature:
        for kind in ("args", "kwargs"):
            signature = signature.replace(f"*{kind}: ~typing.~P", f"*{kind}: P.{kind}")
        signature = re.sub(r"<class '(\w+)'>", r"\1", signature)
    return signature, returns


# The lines of a docstring that are paragraphs of their own.
NOTES = ("Cancellation: ", "Fork: ", "Free-threading: ", "Reentrancy: ")


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", write_generated)
    # Before napoleon, whose priority is 500.
    app.connect("autodoc-process-docstring", adapt_docstring, priority=400)
    app.connect("autodoc-process-signature", adapt_signature)
