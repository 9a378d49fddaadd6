"""Makes the networks."""
