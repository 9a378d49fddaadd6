"""Brings data sets from the archive to the batch."""
