"""Hears of the import of one module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

__all__ = ["Arrivals"]


class Arrivals:
    """Calls somebody when a module, which is not imported yet, has been executed.

    A finder that finds one module, as the path's own finder would, and has its loader do a little
    more. Nothing of it stays in the module.
    """

    def __init__(self, module: str, arrived: Callable[[], object]) -> None:
        self.module = module
        self._arrived = arrived

    def start(self) -> None:
        """Listen from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Listen no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if name != self.module:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            self._extend(spec.loader)
        return spec

    def _extend(self, loader: object) -> None:
        execute: Callable[[ModuleType], None] = loader.exec_module  # type: ignore[attr-defined]

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # type: ignore[attr-defined]
            execute(module)
            if self in sys.meta_path:
                self._arrived()

        loader.exec_module = exec_module  # type: ignore[attr-defined]
