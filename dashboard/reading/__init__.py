"""What pages know of the fleet: read from the database, with ages, never pretending to be newer than it is.

Only reads. Knows no request and no HTML.
"""
