"""The engine in a process of its own: it may crash, hang or run out of memory, and the daemon goes on.

`client.EngineWorker` is what the daemon uses and `supervisor` what keeps the process running; `child` runs in
the other process; `messages` is all that passes between the two, and `frames` how pictures get across.
"""
