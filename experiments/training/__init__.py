"""Trains: the loop, its step and its devices."""
