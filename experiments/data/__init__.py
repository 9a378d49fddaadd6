"""Data sets, from the archive to the batch."""
