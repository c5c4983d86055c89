"""Settles on a GPU what only a GPU can settle: that each kernel is right there, and how fast it is."""
