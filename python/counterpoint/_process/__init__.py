"""The Python half of the process pool."""
