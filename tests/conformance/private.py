"""Private copies of CPython's test modules, with some of their imports answered by others.

A suite such as `test.lock_tests` reaches the classes under test in two ways: through attributes
that a subclass sets (`locktype`), and through its own imports (`threading.Lock()`). The second
way has no seam, so the module is executed once more, under a `__import__` of its own. Neither
`sys.modules` nor the suite's file is touched: the copy that CPython's own runner would use and
every other module of the process keep the standard library's classes.
"""

from __future__ import annotations

import builtins
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType


class View(ModuleType):
    """A module seen through: some names replaced, all others read from the real one."""

    def __init__(self, real: ModuleType, **replaced: object) -> None:
        super().__init__(real.__name__)
        self.__dict__["_real"] = real
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["_real"], name)


class Private:
    """Loads test modules whose imports of the modules named in `views` get those views."""

    def __init__(
        self, views: Mapping[str, ModuleType], names: Mapping[str, str] | None = None
    ) -> None:
        self._views = dict(views)
        # Modules whose functions and classes are pickled, or their package: those have to be found
        # by another name.
        self._names = dict(names or {})
        self._loaded: dict[str, ModuleType] = {}

    def load(self, name: str) -> ModuleType:
        """Execute the test module `name` privately, or return the copy made before."""
        if name not in self._loaded:
            self._loaded[name] = self._execute(name)
        return self._loaded[name]

    def _execute(self, name: str) -> ModuleType:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            raise ModuleNotFoundError(f"no module {name}", name=name)
        # Not the loader found: pytest's would rewrite the suite's assertions.
        known_as = self._known_as(name)
        loader = SourceFileLoader(known_as, found.origin)
        spec = importlib.util.spec_from_file_location(known_as, found.origin, loader=loader)
        module = importlib.util.module_from_spec(spec)
        if known_as != name:
            sys.modules[known_as] = module
        # Code finds `__import__` through the `__builtins__` of its globals, functions included.
        package = name.rpartition(".")[0]
        names = vars(builtins) | {"__import__": self._import_for(package)}
        module.__dict__["__builtins__"] = names
        self._loaded[name] = module
        loader.exec_module(module)
        return module

    def _known_as(self, name: str) -> str:
        package, _, rest = name.rpartition(".")
        other = self._names.get(package)
        return f"{other}.{rest}" if other else self._names.get(name, name)

    def _import_for(self, package: str) -> object:
        def import_(
            name: str,
            globals: Mapping[str, object] | None = None,
            locals: Mapping[str, object] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            if level:
                full = importlib.util.resolve_name("." * level + name, package)
                return self.load(full)
            module = builtins.__import__(name, globals, locals, fromlist or (), level)
            return self._views.get(module.__name__, module)

        return import_
