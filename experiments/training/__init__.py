"""The loop, its step and its devices."""
