"""One check a file; `examine.CHECKS` is the list."""
