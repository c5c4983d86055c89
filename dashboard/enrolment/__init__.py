"""Letting devices into the fleet: tokens, approval by fingerprint, certificates.

`desk` decides, by the database; `signing` makes certificates, where the authority's key is; `server` speaks
with devices in a process of its own. `pages` only writes decisions: no page ever holds the authority's key.
"""
