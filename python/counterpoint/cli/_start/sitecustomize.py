"""What `counterpoint run` starts before the program: see counterpoint/cli/run.py.

Python imports this as `sitecustomize`. It leaves the interpreter as it would be without it: the
environment and the path restored, the user's own sitecustomize (if there is one) in its place.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself would be one more module that plain Python has not loaded
if TYPE_CHECKING:
    from counterpoint.cli.session import Session

PREFIX = "COUNTERPOINT_RUN_"


def _begin() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    settings = {
        name[len(PREFIX) :]: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(PREFIX)
    }
    os.environ.pop("PYTHONPATH", None)
    if "PYTHONPATH" in settings:
        os.environ["PYTHONPATH"] = settings["PYTHONPATH"]
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    loaded = set(sys.modules)
    # Before our package is imported, so that the summary comes after anything the package does at
    # exit.
    import atexit

    ending: list[Session] = []
    atexit.register(_finish, ending)
    path = list(sys.path)
    if settings["ROOT"] not in sys.path:
        sys.path.insert(0, settings["ROOT"])
    from counterpoint.cli import session

    sys.path[:] = path
    ending.append(session.begin(settings, loaded))


def _finish(ending: list[Session]) -> None:
    for session in ending:
        session.finish()


try:
    _begin()
except BaseException:
    # The site module would go on without us; the program must not run half-equipped.
    sys.excepthook(*sys.exc_info())
    sys.stderr.flush()
    os._exit(1)

# Whatever else calls itself sitecustomize has its turn now. If there is nothing, the ImportError is
# what Python expects of a missing one: it takes this module out of sys.modules and carries on.
del sys.modules["sitecustomize"]
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
