"""Ranges of sizes, forecasts and timing caches: what is asked of the compiler, and what it is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagined_weights import PAIR_OF_2B, ImaginedWeights

from lineside.engines.errors import NotEnoughMemory
from lineside.engines.graph.dialects.tensorrt import TensorRtDialect
from lineside.engines.room import CannotBuild
from lineside.engines.tensorrt import forecast as forecasts
from lineside.engines.tensorrt import timing_cache
from lineside.engines.tensorrt.describe import decoder_graph
from lineside.engines.tensorrt.forecast import Forecast, GraphToCompile, forecast
from lineside.engines.tensorrt.library import Library
from lineside.engines.tensorrt.plans import Build, CompiledGraph, Made, Target
from lineside.engines.tensorrt.profiles import BadRange, Range, Sizes, shapes_of
from lineside.engines.tensorrt.weights import CountingShelf


@settings(deadline=None)
@given(context=st.integers(1, 300_000), rows=st.integers(1, 64))
def test_every_range_goes_up_and_stays_within_the_context(context: int, rows: int) -> None:
    ranges = Sizes(context, rows).ranges()
    for one in ranges.values():
        assert 1 <= one.least <= one.usual <= one.most
    assert ranges["T"].most <= context
    assert ranges["B"].most == rows


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 3), (1, 4, 3)])
def test_a_range_that_does_not_go_up_is_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(BadRange):
        Range(*sizes)


def test_a_step_is_open_in_its_rows_only_and_a_prefill_in_tokens_and_pictures() -> None:
    sizes = Sizes(context=2048, rows=4)
    inputs = {
        call: decoder_graph(TensorRtDialect(call=call), ImaginedWeights(), CountingShelf(), PAIR_OF_2B, 2048)
        .model()
        .graph.input
        for call in ("step", "prefill")
    }
    step = shapes_of(inputs["step"], sizes.ranges())
    assert step["text_embeds"] == ((1, 1, 2048), (1, 1, 2048), (4, 1, 2048))
    assert step["past.1.key"] == ((1, 2, 2048, 256), (1, 2, 2048, 256), (4, 2, 2048, 256))
    prefill = shapes_of(inputs["prefill"], sizes.ranges())
    assert prefill["text_embeds"] == ((1, 1, 2048), (1, 256, 2048), (4, 1024, 2048))
    assert prefill["image_embeds"] == ((1, 2048), (300, 2048), (4096, 2048))
    # Weights have one shape, and so no place in a profile.
    assert not any("in_proj" in name for name in prefill)


def test_an_axis_nobody_gave_a_range_is_refused() -> None:
    graph = (
        decoder_graph(TensorRtDialect(call="step"), ImaginedWeights(), CountingShelf(), PAIR_OF_2B, 64)
        .model()
        .graph
    )
    with pytest.raises(BadRange, match="axis B"):
        shapes_of(graph.input, {})


GRAPHS = [GraphToCompile("step", 800, 0, 1 << 20), GraphToCompile("prefill", 1000, 6, 2 << 20)]


def test_a_forecast_counts_weights_and_says_that_time_is_unknown_where_it_is() -> None:
    said = forecast("tensorrt", GRAPHS, 3 << 30, {})
    assert said.weights_bytes == 3 << 30
    assert said.disk_bytes > 3 << 30
    assert said.seconds is None
    # TensorRT has work space on the device, which TensorRT-RTX, compiling without one, has not.
    assert said.peak_bytes == forecast("tensorrt-rtx", GRAPHS, 3 << 30, {}).peak_bytes + (1 << 30)
    assert "unknown" in " ".join(said.lines())
    assert "3.0 GiB of it weights" in said.lines()[0]


def test_what_was_measured_here_is_what_is_forecast() -> None:
    target = Target("tensorrt", "10.16.1", 87)
    plan = CompiledGraph("f", "", 5 << 20, {}, {}, {}, {}, (), 100.0, 2 << 30)
    made = Made(64, 1, 1, 1, True, "stored", "VK")
    build = Build(Path(), "", target, made, {"step": plan, "prefill": replace(plan, seconds=50.0)})
    said = forecast("tensorrt", GRAPHS, 0, {"step": build, "prefill": build})
    assert (said.seconds, said.peak_bytes, said.disk_bytes) == (150.0, 2 << 30, 10 << 20)
    assert "2 minutes, as last time" in " ".join(said.lines())


def test_what_does_not_fit_is_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "free_bytes", lambda: 1 << 30)
    Forecast(0, 0, 1 << 20, 1.0, False).check(tmp_path)
    with pytest.raises(NotEnoughMemory, match="stop other programs"):
        Forecast(0, 0, 2 << 30, 1.0, False).check(tmp_path)
    with pytest.raises(CannotBuild, match="free some room"):
        Forecast(0, 1 << 60, 1, 1.0, False).check(tmp_path)


class Config:
    """A builder's configuration as far as timing caches go; it takes only what it once gave."""

    def __init__(self) -> None:
        self.taken = b""

    def create_timing_cache(self, known: bytes) -> Any:
        return SimpleNamespace(known=known, serialize=lambda: b"measured:" + known)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache
        return not cache.known or cache.known.startswith(b"measured:")

    def get_timing_cache(self) -> Any:
        return self.cache


def test_what_was_measured_is_lent_to_the_next_build(tmp_path: Path) -> None:
    library = Library("tensorrt", "10.16.1", SimpleNamespace())  # type: ignore[arg-type]
    path = timing_cache.cache_path(tmp_path, library, 87)
    assert path.name == "timing-tensorrt-10.16.1-sm87.cache"
    config = Config()
    timing_cache.lend(library, config, path)
    assert config.cache.known == b""
    timing_cache.keep(library, config, path)
    timing_cache.lend(library, config, path)
    assert config.cache.known == b"measured:"


@pytest.mark.parametrize("spoiled", ["content", "mode"])
def test_a_cache_that_is_not_ours_or_not_taken_is_as_good_as_none(tmp_path: Path, spoiled: str) -> None:
    library = Library("tensorrt", "10.16.1", SimpleNamespace())  # type: ignore[arg-type]
    path = timing_cache.cache_path(tmp_path, library, 87)
    path.write_bytes(b"measured:" if spoiled == "mode" else b"of another version")
    path.chmod(0o666 if spoiled == "mode" else 0o600)
    config = Config()
    timing_cache.lend(library, config, path)
    assert config.cache.known == b""


def test_rtx_has_no_timings_to_keep(tmp_path: Path) -> None:
    library = Library("tensorrt-rtx", "1.7.1", SimpleNamespace())  # type: ignore[arg-type]
    timing_cache.keep(library, Config(), tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("graph", "seconds", "peak", "plan"),
    [
        (GraphToCompile("step", 2391, 0, 2428 << 10), 35, 660 << 20, 16_300_000),
        (GraphToCompile("prefill", 3405, 18, 2542 << 10), 113, 1434 << 20, 100_700_000),
    ],
    ids=["step", "prefill"],
)
def test_the_rule_gives_what_was_measured_of_2b(
    graph: GraphToCompile, seconds: float, peak: int, plan: int
) -> None:
    """The table of docs/tensorrt.md: sizes within a quarter, times within half, for cores were shared."""
    assert graph.seconds == pytest.approx(seconds, rel=0.5)
    assert graph.peak_bytes == pytest.approx(peak, rel=0.25)
    assert graph.plan_bytes == pytest.approx(plan, rel=0.25)
