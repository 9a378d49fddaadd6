"""Draws pictures and writes tables of runs, from their files alone."""
