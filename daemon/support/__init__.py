"""The support bundle: what helps to find a fault from afar, without pictures and without secrets."""
