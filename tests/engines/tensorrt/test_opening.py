"""From a build in the cache to a session, or to the next best runtime: what is not used says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runtime_choices import CONTEXT, standin_compiled

from lineside.engines.bundle import Bundle, open_bundle
from lineside.engines.config import ModelConfig, parse_config
from lineside.engines.errors import IncompatibleBundle, RuntimeMissing
from lineside.engines.open import Engine
from lineside.engines.runtimes import candidates
from lineside.engines.tensorrt.opening import checked_build, has_builds, plan_files
from lineside.engines.tensorrt.plans import RECORD, Target
from lineside.engines.tensorrt.session import DECODER

HERE = Target("tensorrt-rtx", "1.0", 89)


@pytest.fixture(scope="module")
def cache(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the bundle was compiled for `HERE`, but for TensorRT's own part."""
    folder = tmp_path_factory.mktemp("compiled")
    standin_compiled(bundle, folder).close()
    return folder / "cache"


@pytest.fixture
def opened(bundle: Path, cache: Path) -> Bundle:
    return open_bundle(bundle, cache)


@pytest.fixture
def config(opened: Bundle) -> ModelConfig:
    return parse_config(opened.json("config.json"))


def test_a_build_is_found_and_tried_before_the_processor(opened: Bundle, cache: Path, tmp_path: Path) -> None:
    assert has_builds(opened, "tensorrt-rtx", cache)
    assert not has_builds(opened, "tensorrt", cache)
    assert [one.name for one in candidates(opened, "auto", cache)] == ["tensorrt-rtx", "onnxruntime"]
    assert [one.name for one in candidates(opened, "auto", tmp_path)] == ["onnxruntime"]


def test_plans_that_cannot_run_here_leave_it_to_the_processor_and_say_so(
    bundle: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine.open(bundle, cache=cache, threads=1) as engine:
        assert engine.info.runtime == "onnxruntime"
    assert "tensorrt-rtx is not used" in caplog.text


def test_a_runtime_that_was_asked_for_is_not_replaced(bundle: Path, cache: Path) -> None:
    for name in ("tensorrt", "tensorrt-rtx"):
        with pytest.raises(IncompatibleBundle):
            Engine.open(bundle, name, cache=cache)


@pytest.mark.parametrize(
    ("target", "context", "says"),
    [
        (Target("tensorrt", "10.16.1", 87), 64, "not compiled for tensorrt"),
        (Target("tensorrt-rtx", "1.0", 120), 64, "sm_89, and this machine's chip is sm_120"),
        (Target("tensorrt-rtx", "1.1", 89), 64, "1.0, and 1.1 is installed"),
        (HERE, CONTEXT + 1, "up to 512 tokens"),
    ],
)
def test_a_build_for_something_else_is_refused(
    opened: Bundle, cache: Path, target: Target, context: int, says: str
) -> None:
    with pytest.raises(RuntimeMissing, match=says):
        checked_build(opened, target, context, cache)


def test_weights_come_in_pieces_that_make_up_the_whole(
    opened: Bundle, cache: Path, config: ModelConfig
) -> None:
    build = checked_build(opened, HERE, CONTEXT, cache)
    files = plan_files(build, opened, config)
    assert files.weight is not None
    for name, place in build.weights[DECODER].places.items():
        assert sum(piece.nbytes for piece in files.weight(DECODER, name)) == place.bytes
    assert list(files.weight(DECODER, "nobody's")) == []
    assert list(files.weight("elsewhere", "nobody's")) == []


def test_a_build_without_a_decoder_is_refused(opened: Bundle, cache: Path, config: ModelConfig) -> None:
    build = checked_build(opened, HERE, CONTEXT, cache)
    del build.graphs["step"]  # type: ignore[attr-defined]
    with pytest.raises(RuntimeMissing, match="has no plan step"):
        plan_files(build, opened, config)


def test_a_plan_that_was_changed_is_refused(bundle: Path, tmp_path: Path) -> None:
    standin_compiled(bundle, tmp_path).close()
    cache = tmp_path / "cache"
    (record,) = cache.rglob(RECORD)
    plan = record.parent / json.loads(record.read_text())["graphs"]["step"]["file"]
    plan.write_bytes(plan.read_bytes() + b" ")
    with pytest.raises(RuntimeMissing, match="changed or damaged"):
        checked_build(open_bundle(bundle, cache), HERE, CONTEXT, cache)
