"""What a worker has imported, so that the next one is forked with it."""

from __future__ import annotations

import os
import sys

__all__ = ["new_modules", "reseed"]

_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def new_modules(known: set[str]) -> list[str]:
    """Modules of the standard library and of installed packages, in the order of their import.

    Not the program's own: their import may do what a program does once, and they may change while
    it runs.
    """
    modules = list(sys.modules.items())
    return [name for name, module in modules if name not in known and _is_installed(name, module)]


def _is_installed(name: str, module: object) -> bool:
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    if not isinstance(origin, str) or name.startswith("__"):
        return False
    return origin.startswith(_LIBRARY) or any(part in origin for part in _PACKAGES)


def reseed() -> None:
    """Give a fork random numbers of its own where a library does not see to it itself."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
