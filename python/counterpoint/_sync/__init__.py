"""The locks, one class a file; `counterpoint.threading` is their public home."""
