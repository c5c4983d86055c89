"""Building needs memory for a few rows, not for the model: measured on a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import published
import pytest

SIZE = published.SIZES["0.8B"].reduced(layers=3, vocabulary=40_000)
BUILD = """
import resource, sys
from pathlib import Path
from lineside.engines.build import Storage, build_graphs
from lineside.engines.bundle import write_bundle
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
build_graphs(Path(sys.argv[1]), Path(sys.argv[2]), storage=Storage(sys.argv[3]))
print(peak() - before)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 32 MB around an embedding of 82 MB: 190 MB in all."""
    return published.write_weights(SIZE, tmp_path_factory.mktemp("sharded"), shard_bytes=32 << 20)


@pytest.mark.parametrize("precision", ["int4", "fp32"])
def test_peak_memory_stays_under_one_and_a_half_shards_and_a_tensor(
    checkpoint: Path, tmp_path: Path, precision: str
) -> None:
    shards = [path.stat().st_size for path in checkpoint.glob("*.safetensors")]
    tensor = 2 * SIZE.vocabulary * SIZE.hidden
    assert sum(shards) > 1.9 * max(shards)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(checkpoint), str(tmp_path / "out"), precision],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    grown = int(done.stdout)
    assert grown < 1.5 * max(shards) + tensor
    # In truth a few rows are held at a time, whatever the size of shards and tensors.
    assert grown < 110_000_000
