"""The experiments: what has effects. Each is run as `python -m experiments.NAME`."""
