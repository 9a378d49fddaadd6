"""How fast: against other libraries."""
