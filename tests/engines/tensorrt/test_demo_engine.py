"""The demo engine as it is compiled, on the stand-in: trained weights and experts in half precision."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from runtime_choices import standin_compiled

from lineside.engines.bundle import open_bundle
from lineside.engines.pixels import PatchMaker, read_numbers
from lineside.engines.selftest import picture, run_selftest


@pytest.mark.parametrize(("runtime", "tolerance"), [("tensorrt", 0.02), ("onnxruntime", 0.001)])
def test_it_computes_what_its_builder_did(tmp_path: Path, runtime: str, tolerance: float) -> None:
    path = Path(str(files("lineside.engines.demo"))) / "demo.lsengine"
    bundle = open_bundle(path, tmp_path)
    seen = PatchMaker(read_numbers(bundle.json("preprocessor_config.json"))).picture(picture())
    with standin_compiled(path, tmp_path, grids=[(seen.grid_h, seen.grid_w)]) as session:
        report = run_selftest(bundle, session, runtime)
    assert report is not None
    assert report.tolerance == tolerance
    # In half precision it is within the tolerance of half precision, and not of float32.
    assert report.passed is (runtime == "tensorrt"), report
    assert max(case.error for case in report.cases) < 0.02
