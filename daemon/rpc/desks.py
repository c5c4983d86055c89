"""What the gRPC services keep beside results: handed to the server in one piece. Knows no call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from google.protobuf.message import Message

from lineside.daemon.engine_shelf import EngineShelf, Switch
from lineside.daemon.job_board import JobBoard
from lineside.daemon.rpc.asking import checked_request_id
from lineside.daemon.store.desk import Desk
from lineside.daemon.store.requests import RequestKey


@dataclass(frozen=True, slots=True)
class Desks:
    """Jobs go through the board, all else to the desk itself. `switch` changes the engine that judges."""

    desk: Desk
    jobs: JobBoard
    engines: EngineShelf
    switch: Switch


def request_key(scope: str, request: Message, request_id: str) -> RequestKey | None:
    """The key of a call with a `request_id`: the same message is the same call. None without one.

    Raises:
        RpcFault: the id is too long.
    """
    checked = checked_request_id(request_id)
    if checked is None:
        return None
    return RequestKey(scope, checked, sha256(request.SerializeToString(deterministic=True)).hexdigest())


def limited(texts: Mapping[str, str], most: int, longest: int) -> bool:
    """Whether a map has at most `most` entries, none of them empty or longer than `longest`."""
    return len(texts) <= most and all(
        key and len(key) <= longest and len(text) <= longest for key, text in texts.items()
    )
