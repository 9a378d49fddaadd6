"""Recurrent networks for JAX as pure functions."""
