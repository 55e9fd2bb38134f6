"""Benchmarks. ``rust/`` measures the crates, ``vs/`` the Python package against others."""
