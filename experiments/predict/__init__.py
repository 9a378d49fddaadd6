"""Asks a trained run."""
