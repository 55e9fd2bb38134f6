"""The project's tests, importable as `tests.…` from the root of the repository."""
