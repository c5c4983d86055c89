"""The demonstration: a drawn line, inspected by the real daemon and compared with its truth."""
