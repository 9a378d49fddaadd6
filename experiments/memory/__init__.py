"""Measures what memory is for, and how long it lasts."""
