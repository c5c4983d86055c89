"""The whole product over real processes: drawn line, real broker, real daemon with its engine process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for chain_plant

from chain_plant import Plant

from lineside.daemon.demo.video import DrawnLine, draw_line

PARTS = 24


@pytest.fixture(scope="session")
def drawn_line(tmp_path_factory: pytest.TempPathFactory) -> DrawnLine:
    """A line of parts, drawn once for all tests."""
    return draw_line(tmp_path_factory.mktemp("line"), parts=PARTS, seed=5, good_share=0.6)


@pytest.fixture
def plant(tmp_path: Path, drawn_line: DrawnLine) -> Iterator[Callable[..., Plant]]:
    """`plant()`: broker, listeners and daemon over the drawn line; all ended after the test."""
    opened: list[Plant] = []

    def open_plant(*, realtime: bool = False) -> Plant:
        one = Plant(tmp_path, drawn_line, realtime)
        opened.append(one)
        one.start_broker()
        one.on_broker.__enter__()
        assert one.on_broker.wait_until_listening(60)
        one.on_grpc.__enter__()
        one.start_daemon()
        return one

    yield open_plant
    for one in opened:
        one.on_broker.__exit__(None, None, None)
        one.on_grpc.__exit__(None, None, None)
        one.close()
