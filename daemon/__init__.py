"""The daemon: from a camera's frame to a stored and announced verdict.

Imports run along the data: `cameras → triggers → recipes → inspection → store → reporting, rpc`;
`appliance` builds everything and closes it.
"""
