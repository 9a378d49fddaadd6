"""The ways of running a recurrence: one file each, one signature, passed as values."""

from jaxrnn.engines.scan import scan

__all__ = ["scan"]
