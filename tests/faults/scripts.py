"""Programs that interrupt themselves."""

from __future__ import annotations

import os

from tests.support import succeeds

PRELUDE = """
import os, signal, sys, threading, time
sys.path[:0] = sys.argv[1:]
import warnings
warnings.simplefilter("ignore")
from tests.support import eventually
def asleep(thread):
    stat = open(f"/proc/self/task/{thread.native_id}/stat").read()
    return stat.rpartition(")")[2].split()[0] == "S"
def begin(function, *args):
    # Starts a thread, and returns when it sleeps.
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    eventually(lambda: asleep(thread))
    return thread
"""
PATHS = (os.getcwd(), os.path.join(os.getcwd(), "python"))


def run(program: str, timeout: float = 50.0) -> str:
    return succeeds(PRELUDE + program, *PATHS, timeout=timeout)
