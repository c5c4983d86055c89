"""One run of the engine process as its parent sees it: start, send, receive, kill.

Started by exec, never by a bare fork (gRPC and CUDA do not survive one). Knows nothing of asks, queues or
restarts. A child must be started, used and killed by one thread: it dies with the thread that started it.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from lineside.daemon.engine_worker.messages import Alive, Done, FromChild, Ready, Refused, ToChild

_CHILD_MODULE = "lineside.daemon.engine_worker.child"
MAX_IN_HAND = 4
MAX_MESSAGE_BYTES = 32 * 1024  # so that all messages in hand fit into the socket while the process computes
_STALL_S = 5  # how long one read or write within a message may stall before the child counts as broken


class UnsendableAsk(Exception):
    """A message that cannot be pickled or is too long; the message says which."""


class ChildGone(Exception):
    """The process has died, closed its connection, or sends what cannot be read."""


class EngineProcess:
    """A started engine process. Use `start`."""

    def __init__(self, popen: subprocess.Popen[bytes], connection: Connection) -> None:
        self._popen = popen
        self._connection = connection

    @classmethod
    def start(cls, frames_fd: int) -> EngineProcess:
        """Starts the process; `frames_fd` is the shared memory it may read."""
        ours, theirs = socket.socketpair()
        with theirs:
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                # A stopped process must not block its supervisor in the middle of a message.
                ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _STALL_S, 0))
            handed_over = (theirs.fileno(), frames_fd)
            command = [sys.executable, "-P", "-m", _CHILD_MODULE, *map(str, handed_over), str(os.getpid())]
            try:
                popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # what a runtime prints must not mix with the daemon's own output
                    pass_fds=handed_over,
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        return cls(popen, Connection(ours.detach()))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def connection(self) -> Connection:
        """To wait on with `multiprocessing.connection.wait`."""
        return self._connection

    def send(self, message: ToChild) -> None:
        """Hands `message` over.

        Raises:
            UnsendableAsk: nothing was sent.
            ChildGone: the process takes nothing.
        """
        try:
            data = pickle.dumps(message)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            raise UnsendableAsk(f"cannot be sent to the engine process: {error}") from error
        if len(data) > MAX_MESSAGE_BYTES:
            raise UnsendableAsk(f"a question of {len(data):,} bytes; {MAX_MESSAGE_BYTES:,} are the most")
        try:
            self._connection.send_bytes(data)
        except OSError as error:
            raise ChildGone(f"does not take messages ({error})") from error

    def received(self) -> Iterator[FromChild]:
        """Every message that has come, without waiting; ChildGone after a dead process's last."""
        while True:
            try:
                if not self._connection.poll(0):
                    return
                message = self._connection.recv()
            except (EOFError, OSError) as error:
                raise ChildGone("closed its connection") from error
            except Exception as error:  # bytes of a broken process can make pickle raise anything
                raise ChildGone(f"sends what cannot be read ({error!r})") from error
            if not isinstance(message, Ready | Refused | Alive | Done):
                raise ChildGone(f"sends what cannot be read ({type(message).__name__})")
            yield message

    def memory_bytes(self) -> int | None:
        """Resident memory of the process now; None when it is gone."""
        return resident_bytes(self._popen.pid)

    def stop(self, patience_s: float) -> str:
        """Has the process end by closing its connection, kills it after `patience_s`; says how it ended."""
        self._connection.close()
        try:
            self._popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            return self.kill()
        return self._how_it_ended()

    def kill(self) -> str:
        """Ends the process for certain and says how it ended; safe to call on a dead one."""
        if not self._connection.closed:
            self._connection.close()
        # A dead process keeps the way it died: the signal then has no effect.
        self._popen.kill()
        self._popen.wait()
        return self._how_it_ended()

    def dead(self, patience_s: float) -> bool:
        """Whether the process has ended by itself, or does so within `patience_s`."""
        try:
            self._popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _how_it_ended(self) -> str:
        status = self._popen.returncode
        if status is None:
            return "still runs"
        if status >= 0:
            return f"ended with status {status}"
        name = signal.Signals(-status).name
        hint = " (out of memory, perhaps)" if -status == signal.SIGKILL else ""
        return f"was ended by {name}{hint}"


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process, or None when there is none of that id. Source: proc(5), statm."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * mmap.PAGESIZE
