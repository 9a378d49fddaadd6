"""Pictures of runs, from their files alone."""
