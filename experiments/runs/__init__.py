"""The files of a run, written and read."""
