"""As store_crash_child, but each life dies inside a write, of which the disk gets a beginning only.

Each line on its standard input, "FOLDER SEED WRITE", forks a life that dies in that write. It is started
with the environment of `failing_disk`.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from store_crash_child import live, say


def main() -> None:
    say("READY")
    for line in sys.stdin:
        folder, seed, at = line.rsplit(maxsplit=2)
        pid = os.fork()
        if pid == 0:
            os.environ["LINESIDE_SEED"], os.environ["LINESIDE_TORN"] = seed, at
            say("PID", os.getpid())
            try:
                live(Path(folder), int(seed))
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        say("DEAD", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
