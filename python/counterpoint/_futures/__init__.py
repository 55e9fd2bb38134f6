"""The Python half of `counterpoint.futures`."""
