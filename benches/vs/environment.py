"""In which environment programs are measured."""

from __future__ import annotations

import os


def usual() -> dict[str, str]:
    """This one, but that bytecode is kept, as it is where programs are used."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
