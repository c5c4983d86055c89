"""Moving engines to devices in waves: bundles, the state machine, its steps and gates, and who runs them.

The database holds how far everything is; `machine` says what comes next; `runner`, in the process that
follows, does it. Whatever is killed, the next one reads on from there: every step may be done twice.
"""
