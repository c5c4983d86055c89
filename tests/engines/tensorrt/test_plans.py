"""Builds on disk: found by what runs here, and refused with a reason that says what to do."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.engines import verification
from lineside.engines.tensorrt.plans import (
    RECORD,
    Build,
    CompiledGraph,
    Made,
    PlanRefused,
    Target,
    WeightFile,
    build_folder,
    check_files,
    find_build,
    read_record,
    weights_folder,
    write_record,
)
from lineside.engines.tensorrt.weights import Place, WeightShelf
from lineside.engines.verification import VerificationRecords

DIGEST = "ab" * 32
HERE = Target("tensorrt", "10.16.1", 87)
MADE = Made(4096, 8, 1024, 4096, True, "stored", "VK")


def build(root: Path, target: Target = HERE, made: Made = MADE, digest: str = DIGEST) -> Build:
    """A build of two small files, written as the compiler writes it."""
    folder = build_folder(root, digest, target, made)
    folder.mkdir(parents=True)
    with WeightShelf(weights_folder(root, digest, made) / "decoder.weights") as shelf:
        shelf.put("layers.0/in_proj", "float16", (2, 4), lambda: (_numbers(2, 4),))
        shelf.put("lm_head", "int4", (2, 4), lambda: (_bytes(4),))
        sha = shelf.finish()
    (folder / "step.plan").write_bytes(b"a plan")
    plan = CompiledGraph(
        "step.plan",
        _sha(b"a plan"),
        6,
        {"text_embeds": {"dtype": "HALF", "shape": [-1, 1, 64]}},
        {"logits": {"dtype": "FLOAT", "shape": [-1, 1, 128]}},
        {"text_embeds": [[1, 1, 64], [1, 1, 64], [8, 1, 64]]},
        {"CAST": 3},
        ("a_kernel",),
        1.5,
        1 << 28,
    )
    kept = WeightFile(f"../{shelf.path.parent.name}/{shelf.path.name}", sha, shelf.bytes, shelf.places)
    made_build = Build(folder, digest, target, made, {"step": plan, "prefill": plan}, {"decoder": kept})
    write_record(made_build)
    return made_build


def test_a_build_is_found_as_it_was_written(tmp_path: Path) -> None:
    written = build(tmp_path)
    found = find_build(tmp_path, DIGEST, HERE, context=2000)
    assert found.graphs["step"].inputs == written.graphs["step"].inputs
    assert found.weights == written.weights
    assert found.made == MADE
    assert found.path(found.weights["decoder"].file).read_bytes()[:2] == _numbers(1, 1).tobytes()
    check_files(found)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Target("tensorrt-rtx", "1.7.1", 87), "was not compiled for tensorrt:"),
        (Target("tensorrt", "10.15.2", 87), "compiled with tensorrt 10.15.2, and 10.16.1 is installed"),
        (Target("tensorrt", "10.16.1", 89), "compiled for sm_89, and this machine's chip is sm_87"),
    ],
    ids=["runtime", "version", "chip"],
)
def test_another_runtimes_versions_or_chips_plan_is_refused(
    tmp_path: Path, other: Target, named: str
) -> None:
    build(tmp_path, other)
    with pytest.raises(PlanRefused, match=named) as refused:
        find_build(tmp_path, DIGEST, HERE)
    assert "lineside engine compile" in str(refused.value)


def test_a_build_that_was_interrupted_is_none_yet(tmp_path: Path) -> None:
    begun = build(tmp_path)
    write_record(replace(begun, graphs={"step": begun.graphs["step"]}))
    with pytest.raises(PlanRefused, match="was not compiled for tensorrt"):
        find_build(tmp_path, DIGEST, HERE)


def test_another_engines_plan_is_none(tmp_path: Path) -> None:
    """The digest is in the folder's name and in the record; moving a folder does not make it another's."""
    moved = build(tmp_path, digest="cd" * 32).folder
    (tmp_path / DIGEST).mkdir()
    moved.rename(tmp_path / DIGEST / moved.name)
    with pytest.raises(PlanRefused, match="was not compiled for tensorrt"):
        find_build(tmp_path, DIGEST, HERE)


def test_the_smallest_context_that_does_is_taken(tmp_path: Path) -> None:
    """The cache's capacity is what attention reads through: no more of it than need be."""
    for context in (512, 2048, 8192):
        build(tmp_path, made=replace(MADE, context=context))
    assert find_build(tmp_path, DIGEST, HERE, context=513).made.context == 2048
    assert find_build(tmp_path, DIGEST, HERE).made.context == 8192
    with pytest.raises(PlanRefused, match="up to 8192 tokens, 8193 were asked for"):
        find_build(tmp_path, DIGEST, HERE, context=8193)


def test_rounded_weights_are_taken_only_where_they_are_asked_for_or_nothing_is_said(tmp_path: Path) -> None:
    build(tmp_path, made=replace(MADE, rounding="fp8"))
    assert find_build(tmp_path, DIGEST, HERE).made.rounding == "fp8"
    with pytest.raises(PlanRefused, match="weights as stored"):
        find_build(tmp_path, DIGEST, HERE, rounding="stored")


@pytest.mark.parametrize("file", ["step.plan", "weights"])
@pytest.mark.parametrize("damage", ["changed", "gone", "open to others"])
def test_a_file_that_is_not_what_was_written_is_refused(tmp_path: Path, file: str, damage: str) -> None:
    found = build(tmp_path)
    path = found.path("step.plan" if file == "step.plan" else found.weights["decoder"].file)
    if damage == "changed":
        path.write_bytes(bytes(reversed(path.read_bytes())))
    elif damage == "gone":
        path.unlink()
    else:
        path.chmod(0o666)
    with pytest.raises(PlanRefused, match=r"changed|gone|written by others"):
        check_files(found)


def test_files_are_hashed_once_and_again_after_a_change(tmp_path: Path) -> None:
    found = build(tmp_path)
    records = _settled(found, VerificationRecords(tmp_path / "verified"))
    plan = found.path("step.plan")
    assert records.holds(found.folder, _sha((found.folder / RECORD).read_bytes()), _files(found))
    plan.write_bytes(b"b plan")
    with pytest.raises(PlanRefused, match="changed"):
        check_files(found, records)


def test_a_record_that_others_may_have_written_does_not_count(tmp_path: Path) -> None:
    found = build(tmp_path)
    (found.folder / RECORD).chmod(0o666)
    with pytest.raises(PlanRefused, match="prove nothing"):
        read_record(found.folder)
    with pytest.raises(PlanRefused, match="was not compiled"):
        find_build(tmp_path, DIGEST, HERE)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format": 2}', b"\xff", b'{"format": 1, "digest": 3}']
)
def test_a_broken_record_is_refused_not_believed(tmp_path: Path, content: bytes) -> None:
    folder = build(tmp_path).folder
    (folder / RECORD).write_bytes(content)
    with pytest.raises(PlanRefused, match="lineside engine compile"):
        read_record(folder)


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_record_ends_in_another_error(tmp_path_factory: pytest.TempPathFactory, raw: Any) -> None:
    folder = tmp_path_factory.mktemp("build")
    fields = {"format": 1, "digest": raw, "target": raw, "made": raw, "graphs": raw, "weights": raw}
    (folder / RECORD).write_text(json.dumps(fields))
    (folder / RECORD).chmod(0o600)
    with pytest.raises(PlanRefused):
        read_record(folder)


def test_a_missing_picture_size_says_which_there_are(tmp_path: Path) -> None:
    found = build(tmp_path)
    tower = replace(found.graphs["step"], grid=(30, 40))
    found = replace(found, graphs={**found.graphs, "vision-30x40": tower})
    assert found.vision((30, 40)).grid == (30, 40)
    with pytest.raises(PlanRefused, match="there are 30x40"):
        found.vision((22, 40))


def test_places_do_not_overlap_and_are_aligned(tmp_path: Path) -> None:
    places = sorted(build(tmp_path).weights["decoder"].places.values(), key=lambda one: one.offset)
    assert places == [Place("float16", (2, 4), 0, 16), Place("int4", (2, 4), 256, 4)]


def test_a_shelf_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "decoder.weights"
    with pytest.raises(ValueError, match="got 8 bytes for 16"), WeightShelf(path) as shelf:
        shelf.put("short", "float16", (2, 4), lambda: (_numbers(1, 4),))
    assert list(tmp_path.iterdir()) == []


def test_one_name_is_one_weight(tmp_path: Path) -> None:
    with WeightShelf(tmp_path / "w") as shelf:
        shelf.put("a", "float16", (2, 4), lambda: (_numbers(2, 4),))
        shelf.put("a", "float16", (2, 4), _not_read)
        with pytest.raises(ValueError, match="asked for as float32"):
            shelf.put("a", "float32", (2, 4), _not_read)


def _not_read() -> Any:
    raise AssertionError("it is on the shelf already")


def _numbers(rows: int, columns: int) -> Any:
    return np.full((rows, columns), 1.5, np.float16)


def _bytes(count: int) -> Any:
    return np.arange(count, dtype=np.uint8)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _files(found: Build) -> list[str]:
    return ["step.plan", found.weights["decoder"].file]


def _settled(found: Build, records: VerificationRecords) -> VerificationRecords:
    """Files at rest for a minute, as far as their times say, verified and recorded."""
    for path in (found.path(name) for name in _files(found)):
        os.utime(path, ns=(1, 1))
    # The change time cannot be set: the record is made as if the clock had gone on.
    before, verification.SETTLED_NS = verification.SETTLED_NS, -(1 << 62)
    try:
        check_files(found, records)
    finally:
        verification.SETTLED_NS = before
    return records
