"""``python -m benches.vs``."""

from __future__ import annotations

import sys

from benches.vs.cli import main

if __name__ == "__main__":
    sys.exit(main())
