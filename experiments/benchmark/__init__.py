"""Measures how fast this library is beside others."""
