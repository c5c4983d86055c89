"""What people say about parts: decisions, second readings, golden parts, and their way to the devices.

`settle` is the pure rule of when a part is settled; `desk` writes decisions; `send` hands them to devices;
`golden` keeps pictures of reference parts; `policy` is what can be set. Knows no page.
"""
