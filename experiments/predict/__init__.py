"""Ask a trained run."""
