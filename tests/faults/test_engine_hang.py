"""An engine process that is stopped in the middle of a line is replaced by the real daemon.

Runs only with `LINESIDE_FAULTS=all`: a hang is known as one only after the engine's own patience.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from chain_plant import Plant, until
from soak import play_for_ever

from lineside.daemon.demo.video import draw_line

pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("LINESIDE_FAULTS") != "all", reason="a minute's wait: see make faults"),
]
REPLACED_WITHIN_S = 60.0


def test_a_stopped_engine_is_replaced_and_the_station_says_so_meanwhile(tmp_path: Path) -> None:
    plant = Plant(tmp_path, draw_line(tmp_path, parts=12, seed=5, good_share=0.6), realtime=True)
    play_for_ever(plant)
    plant.start_broker()
    plant.on_broker.__enter__()
    plant.on_grpc.__enter__()
    stopped = 0
    try:
        assert plant.on_broker.wait_until_listening(60)
        plant.start_daemon()
        until(lambda: plant.on_broker.received >= 3, "the first verdicts")
        stopped = plant.engine_pid() or 0
        os.kill(stopped, signal.SIGSTOP)
        began = time.monotonic()
        unready = [False]

        def replaced() -> bool:
            station = plant.station()
            unready[0] = unready[0] or (station is not None and not station.ready)
            return plant.engine_pid() not in (stopped, None) and station is not None and station.ready

        until(replaced, "another engine process", REPLACED_WITHIN_S)
        took = time.monotonic() - began
        heard = plant.on_broker.received
        until(lambda: plant.on_broker.received >= heard + 4, "verdicts again")
        assert plant.stop_daemon() == 0
    finally:
        plant.on_broker.__exit__(None, None, None)
        plant.on_grpc.__exit__(None, None, None)
        plant.close()
    print(f"stopped engine replaced and ready again after {took:.1f} s")
    assert unready[0], "the plant sees that the station cannot judge"
    meanwhile = [record for record in plant.records if record["verdict"] == "NOT_DECIDABLE"]
    assert meanwhile, "parts that came meanwhile are answered, as undecided"
