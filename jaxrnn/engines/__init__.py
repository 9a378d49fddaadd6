"""The ways of running a recurrence: one file each, one signature, passed as values."""

from jaxrnn.engines.choose import available, choose
from jaxrnn.engines.cudnn import cudnn
from jaxrnn.engines.fused import fused
from jaxrnn.engines.native import native
from jaxrnn.engines.scan import scan

__all__ = ["available", "choose", "cudnn", "fused", "native", "scan"]
