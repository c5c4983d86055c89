"""`lineside engine compile` on the demo engine, through the real compiler, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import lineside.engines.demo
from lineside.engines.bundle import verify_bundle
from lineside.engines.commands import engine
from lineside.engines.tensorrt import compile as compile_module
from lineside.engines.tensorrt.library import LibraryMissing, load
from lineside.engines.tensorrt.plans import (
    PlanRefused,
    Target,
    builds_root,
    check_files,
    find_build,
    read_record,
)

DEMO = Path(lineside.engines.demo.__file__).parent / "demo.lsengine"
RTX = ("--runtime", "tensorrt-rtx")


def compiled(cache: Path, *arguments: str, bundle: Path = DEMO) -> Result:
    return CliRunner().invoke(
        engine,
        ["compile", str(bundle), *arguments],
        env={"LINESIDE_CACHE": str(cache)},
        catch_exceptions=False,
    )


@pytest.fixture(scope="module")
def version() -> str:
    try:
        return load("tensorrt-rtx").version
    except LibraryMissing as error:
        pytest.skip(f"nothing was compiled: {error}")


@pytest.fixture(scope="module")
def first(version: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(cache, what the command said) of the demo engine compiled for an RTX 40."""
    cache = tmp_path_factory.mktemp("cache")
    done = compiled(cache, *RTX, "--sm", "89", "--json")
    assert done.exit_code == 0, done.output
    return cache, json.loads(done.stdout)


def test_the_demo_engine_compiles_with_no_gpu(first: tuple[Path, dict[str, Any]], version: str) -> None:
    cache, said = first
    assert set(said["plans"]) == {"step", "prefill", "vision-6x10"}
    assert (said["runtime"], said["version"], said["sm"]) == ("tensorrt-rtx", version, 89)
    assert said["plugins"] is False
    digest = verify_bundle(DEMO).digest
    build = find_build(
        builds_root(cache / "engines"), digest, Target("tensorrt-rtx", version, 89), context=512
    )
    check_files(build)
    assert build.made.context == 512
    step = build.graphs["step"]
    assert step.inputs["past.3.key"]["shape"] == [-1, 2, 512, 32]
    assert step.layers["ATTENTION_INPUT"] == 1
    assert build.vision((6, 10)).inputs["pixel_values"]["shape"] == [1, 60, 384]
    weights = set(build.weights["decoder"].places)
    assert weights <= set(step.inputs) & set(build.graphs["prefill"].inputs)


def test_what_it_will_take_is_said_and_was_enough(first: tuple[Path, dict[str, Any]]) -> None:
    said = first[1]
    peaks = [plan["peak_bytes"] for plan in said["plans"].values()]
    assert said["forecast"]["memory_bytes"] > 0.75 * max(peaks)
    assert said["forecast"]["weights_bytes"] == sum(said["weights"].values())
    assert said["forecast"]["measured"] is False


def test_the_card_says_what_was_compiled(first: tuple[Path, dict[str, Any]], version: str) -> None:
    env = {"LINESIDE_CACHE": str(first[0])}
    shown = CliRunner().invoke(engine, ["show", str(DEMO)], env=env, catch_exceptions=False)
    assert f"for tensorrt-rtx {version} on sm_89, context 512, pictures of 6x10" in shown.output
    shown = CliRunner().invoke(engine, ["show", str(DEMO), "--json"], env=env, catch_exceptions=False)
    (build,) = json.loads(shown.stdout)["compiled"]
    assert {"step", "prefill", "vision-6x10"} <= set(build["plans"])


def test_the_bundle_stays_as_it_was_shipped(first: tuple[Path, dict[str, Any]]) -> None:
    """Signed by its vendor or not: what is built here is not under that signature."""
    folder = Path(first[1]["folder"])
    assert DEMO.parent not in folder.parents
    assert read_record(folder).digest == verify_bundle(DEMO).digest


def test_another_picture_size_costs_one_plan(first: tuple[Path, dict[str, Any]], version: str) -> None:
    cache, before = first
    done = compiled(cache, *RTX, "--sm", "sm_89", "--image", "64x64", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert set(said["plans"]) == {*before["plans"], "vision-8x8"}
    assert said["forecast"]["weights_bytes"] == 0
    for name, plan in before["plans"].items():
        assert said["plans"][name] == plan  # as it was, its time included: not compiled again


def test_a_second_time_there_is_nothing_to_do_and_the_time_is_known(
    first: tuple[Path, dict[str, Any]],
) -> None:
    cache, before = first
    files = {path: path.stat().st_mtime_ns for path in Path(before["folder"]).glob("*.plan")}
    done = compiled(cache, *RTX, "--sm", "8.9")
    assert done.exit_code == 0, done.output
    assert files == {path: path.stat().st_mtime_ns for path in files}
    told = compiled(cache, *RTX, "--sm", "89", "--again", "--forecast")
    assert told.exit_code == 0
    assert "as last time on this machine" in told.output


@pytest.mark.parametrize("file", ["vision-*.plan", "../weights-*/decoder-*.weights"], ids=["plan", "weights"])
def test_what_was_damaged_is_made_again_and_nothing_else(
    first: tuple[Path, dict[str, Any]], version: str, file: str
) -> None:
    """The refusal at load says to compile again: that must help."""
    cache, said = first
    folder = Path(said["folder"])
    before = {path: path.stat().st_mtime_ns for path in folder.glob("[ps]*.plan")}
    damaged = next(iter(folder.parent.glob(f"{folder.name}/{file}")))
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (folder / ".compiling-of-one-that-was-killed").mkdir()
    with pytest.raises(PlanRefused, match="changed or damaged"):
        check_files(read_record(folder))
    done = compiled(cache, *RTX, "--sm", "89", "--json")
    assert done.exit_code == 0, done.output
    check_files(read_record(folder))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert not list(folder.glob(".compiling-*"))


def test_what_was_compiled_before_an_interruption_is_kept(
    first: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two new picture sizes is interrupted: the first counts, and nothing is lost."""
    cache, before = first

    def interrupted(job: Any, name: str, place: Path, watcher: Any) -> dict[str, Any]:
        if name == "vision-4x16":
            raise KeyboardInterrupt
        return compiling(job, name, place, watcher)

    compiling = compile_module.compile_apart
    monkeypatch.setattr(compile_module, "compile_apart", interrupted)
    images = ("--image", "64x32", "--image", "120x40")
    done = compiled(cache, *RTX, "--sm", "89", *images)
    assert done.exit_code == 1
    left = read_record(Path(before["folder"]))
    assert {*before["plans"], "vision-6x12"} <= set(left.graphs)
    assert "vision-4x16" not in left.graphs
    check_files(left)


def test_another_chips_plan_is_refused_at_load(first: tuple[Path, dict[str, Any]], version: str) -> None:
    root = builds_root(first[0] / "engines")
    digest = verify_bundle(DEMO).digest
    with pytest.raises(PlanRefused, match=r"compiled for sm_89, and this machine's chip is sm_120"):
        find_build(root, digest, Target("tensorrt-rtx", version, 120))
    with pytest.raises(PlanRefused, match=r"plans of one version do not run in another"):
        find_build(root, digest, Target("tensorrt-rtx", "1.8.0", 89))


def test_a_forecast_alone_writes_nothing(version: str, tmp_path: Path) -> None:
    done = compiled(tmp_path, *RTX, "--sm", "89", "--forecast", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["seconds"] > 0
    assert not list(tmp_path.glob("engines/builds/**/*.plan"))
    assert not list(tmp_path.glob("engines/builds/**/*.weights"))


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--sm", "87"), 3, "compiles for the chips"),
        (("--sm", "86", "--weights", "fp8"), 3, "sm_89 is the first that has"),
        (("--sm", "89", "--context-tokens", "513"), 3, "up to 512 tokens"),
        (("--sm", "orin"), 2, "write 87 for compute capability 8.7"),
        (("--sm", "89", "--image", "big"), 2, "WIDTHxHEIGHT"),
        (("--sm", "89", "--image", "4000x3"), 3, ""),
    ],
    ids=["chip", "fp8", "context", "no chip", "no size", "ratio"],
)
def test_what_cannot_be_is_refused_with_what_to_do(
    version: str, tmp_path: Path, arguments: tuple[str, ...], code: int, named: str
) -> None:
    done = compiled(tmp_path, *RTX, *arguments)
    assert done.exit_code == code, done.output
    assert named in done.output
    assert not list(tmp_path.glob("engines/builds/**/*.plan"))


def test_without_tensorrt_it_says_what_to_install(tmp_path: Path) -> None:
    try:
        load("tensorrt")
    except LibraryMissing:
        pass
    else:
        pytest.skip("TensorRT is installed here")
    done = compiled(tmp_path, "--runtime", "tensorrt", "--sm", "87")
    assert done.exit_code == 3
    assert "TensorRT cannot be loaded" in done.output
    assert "JetPack 7.2" in done.output
    assert "lineside[tensorrt]" in done.output
