"""The project's commands: environments, builds, checks. `scripts/dev.py` is the entry.

Standard library only: these run before anything is installed.
"""
