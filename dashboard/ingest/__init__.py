"""Follows every device and keeps what it says: one process, whoever holds the lease.

Devices are found (`roster`, `births`), followed (`follow`) and asked how they are (`probe`), each in threads
of their own; one thread writes (`writer`, over `ledger` and `states`). `owner` starts and stops them all.
Knows no page and no request.
"""
