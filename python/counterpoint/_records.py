"""The records of `statistics()`: imported when somebody first asks for one, and kept.

They are named tuples of the typing module's, which takes as long to import as all that a lock
needs. Kept, because while an interpreter ends nothing can be imported, not even what is there.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["records"]

_kept: list[ModuleType] = []


def records() -> ModuleType:
    """The module `counterpoint._statistics`."""
    if not _kept:
        from counterpoint import _statistics

        _kept.append(_statistics)
    return _kept[0]
