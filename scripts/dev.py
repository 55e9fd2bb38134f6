#!/usr/bin/env python3
"""The project's commands; `make help` lists them. Standard library only."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from devtools.commands import main  # noqa: E402

if __name__ == "__main__":
    # A shell's background job ignores it, and would hand that down to the programs of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
