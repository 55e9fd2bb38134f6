"""The examples in the docstrings of the public modules, one test for each object."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect

import pytest

MODULES = (
    "counterpoint.threading",
    "counterpoint.queue",
    "counterpoint.futures",
    "counterpoint.multiprocessing",
    # What a function of that module returns.
    "counterpoint._multiprocessing.pool",
)


def examples() -> list[doctest.DocTest]:
    """What the public modules show of their own, found where users find it."""
    found: dict[str, doctest.DocTest] = {}
    finder = doctest.DocTestFinder(recurse=False)
    for name in MODULES:
        if importlib.util.find_spec(name) is None:
            continue
        module = importlib.import_module(name)
        for test in finder.find(module, name):
            found[test.name] = test
        names = {public: getattr(module, public) for public in module.__all__}
        for public, subject in names.items():
            if not str(getattr(subject, "__module__", "")).startswith("counterpoint"):
                continue
            for test in _of(finder, subject, f"{name}.{public}", names):
                found.setdefault(test.name, test)
    return [test for test in found.values() if test.examples]


def _of(
    finder: doctest.DocTestFinder, subject: object, name: str, names: dict[str, object]
) -> list[doctest.DocTest]:
    """The examples of an object, and if it is a class those of its methods."""
    tests = finder.find(subject, name, globs=names)
    if inspect.isclass(subject):
        for attribute, member in vars(subject).items():
            plain = inspect.isfunction(member) or isinstance(member, property)
            if plain and not attribute.startswith("_"):
                tests += finder.find(member, f"{name}.{attribute}", globs=names)
    return tests


EXAMPLES = examples()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("test", EXAMPLES, ids=[test.name for test in EXAMPLES])
def test_the_example_is_true(test: doctest.DocTest) -> None:
    test.globs.setdefault("__name__", "__main__")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST
    runner = doctest.DocTestRunner(optionflags=flags)
    report: list[str] = []
    assert runner.run(test, out=report.append).failed == 0, "".join(report)


def test_every_class_of_locks_shows_an_example() -> None:
    from counterpoint import threading

    shown = {test.name.rpartition(".")[2] for test in EXAMPLES}
    faces = {"ReadLock", "WriteLock", "DeadlockError"}
    ours = {
        name
        for name in threading.__all__
        if getattr(getattr(threading, name), "__module__", "") == "counterpoint.threading"
    }
    assert ours - faces <= shown
