"""Holds the native engine: `engine` calls the compiled `kernels`, which `library` loads."""

from jaxrnn.engines._native.engine import native

__all__ = ["native"]
