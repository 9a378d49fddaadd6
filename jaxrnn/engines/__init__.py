"""Offers the ways of running a recurrence: one file each, one signature, passed as values."""

from jaxrnn.engines._choose import available, choose
from jaxrnn.engines._cudnn import cudnn
from jaxrnn.engines._fused import fused
from jaxrnn.engines._native import native
from jaxrnn.engines._protocol import Engine
from jaxrnn.engines._scan import scan

__all__ = ["Engine", "available", "choose", "cudnn", "fused", "native", "scan"]
