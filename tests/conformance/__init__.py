"""CPython's own suites over Counterpoint's classes: bound by subclassing, never copied."""
