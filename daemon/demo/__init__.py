"""The demonstration: a drawn line, inspected by the real daemon, compared with the truth it was drawn with."""
