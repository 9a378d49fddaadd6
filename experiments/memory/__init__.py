"""What memory is for, as measurements."""
