"""Self-tests: vectors made at build, that an engine must still give wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_engine

from lineside.engines.base import Answer, Clip, Free, Grammar, Image, Observer, Prompt
from lineside.engines.bundle import Bundle, open_bundle, verify_bundle
from lineside.engines.errors import DamagedBundle, PromptTooLong, UndecodableAnswer
from lineside.engines.open import Engine
from lineside.engines.selftest import (
    FILE_NAME,
    Case,
    Observable,
    SelfTestFailed,
    SelfTestReport,
    Vector,
    cases_of,
    make_selftest,
    pack,
    picture,
    require_passed,
    run_selftest,
    tolerance_of,
    unpack,
)
from lineside.engines.signing import new_key, sign_bundle

SCOPE = [
    {"id": "cap", "instruction": "Is the cap on?", "kind": "choice", "values": ["ok", "missing"]},
    {"id": "tablets", "instruction": "How many tablets?", "kind": "count", "values": ["0", "1", "2"]},
    {"id": "code", "instruction": "Read the code.", "kind": "text", "pattern": "^K[0-9]{2}$"},
]


@pytest.fixture(scope="module")
def tested(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with self-test vectors."""
    place = tmp_path_factory.mktemp("tested")
    path = tiny_engine.build(checkpoint, place / "engine")
    make_selftest(path, threads=1)
    return open_bundle(path, place / "cache")


class Skewed:
    """An engine whose logits are shown a little off."""

    def __init__(self, engine: Observable, skew: Any) -> None:
        self._engine = engine
        self._skew = skew

    def answer(
        self,
        images: Sequence[Image | Clip],
        prompt: Prompt,
        grammar: Grammar,
        *,
        max_tokens: int = 256,
        observe: Observer | None = None,
    ) -> Answer:
        def shown(logits: np.ndarray) -> None:
            assert observe is not None
            observe(self._skew(logits))

        return self._engine.answer(images, prompt, grammar, max_tokens=max_tokens, observe=shown)


def test_an_engine_passes_its_own_test(tested: Bundle) -> None:
    with Engine.open(tested.folder, threads=1) as engine:
        report = run_selftest(tested, engine, "onnxruntime")
    assert report is not None
    assert report.passed
    assert [case.name for case in report.cases] == ["words", "talk", "picture", "choice"]
    assert all(case.error == 0.0 and case.tokens == case.tokens_expected for case in report.cases)
    assert len(report.cases[0].tokens) > 1
    require_passed(report, "tiny")


@pytest.mark.parametrize("skew", [lambda x: x + 0.01 * np.abs(x).max(), lambda x: x * np.nan])
def test_an_engine_that_computes_something_else_fails(tested: Bundle, skew: Any) -> None:
    with Engine.open(tested.folder, threads=1) as engine:
        report = run_selftest(tested, Skewed(engine, skew), "onnxruntime")
    assert report is not None
    assert not report.passed
    assert all("logits are off" in (case.objection or "") for case in report.cases)
    with pytest.raises(SelfTestFailed, match=r"tiny does not compute on onnxruntime.*words"):
        require_passed(report, "tiny")


def test_a_deviation_within_the_tolerance_passes(tested: Bundle) -> None:
    with Engine.open(tested.folder, threads=1) as engine:
        report = run_selftest(tested, Skewed(engine, lambda x: x * (1 + 1e-5)), "onnxruntime")
    assert report is not None
    assert report.passed
    assert 0 < report.cases[0].error < report.tolerance


@pytest.fixture
def vector(tested: Bundle) -> Vector:
    return unpack(tested.folder / FILE_NAME)[0]


def with_vector(tested: Bundle, vector: Vector, tmp_path: Path) -> Bundle:
    """The bundle as if it had been built with this vector alone."""
    (tmp_path / FILE_NAME).write_bytes(pack([vector]))
    return Bundle(tmp_path, tested.manifest)


@pytest.mark.parametrize(("margin", "passes"), [(0.0, True), (9.0, False)])
def test_another_token_passes_only_where_it_was_a_tie(
    tested: Bundle, vector: Vector, tmp_path: Path, margin: float, passes: bool
) -> None:
    tokens, margins = vector.tokens.copy(), vector.margins.copy()
    tokens[2] += 1
    margins[2] = margin
    changed = with_vector(tested, replace(vector, tokens=tokens, margins=margins), tmp_path)
    with Engine.open(tested.folder, threads=1) as engine:
        report = run_selftest(changed, engine, "onnxruntime")
    assert report is not None
    assert report.passed is passes


def test_another_vocabulary_fails(tested: Bundle, vector: Vector, tmp_path: Path) -> None:
    changed = with_vector(tested, replace(vector, logits=vector.logits[:-1]), tmp_path)
    with Engine.open(tested.folder, threads=1) as engine:
        report = run_selftest(changed, engine, "onnxruntime")
    assert report is not None
    assert "logits instead of" in (report.cases[0].objection or "")


def test_an_engine_that_gives_no_answer_fails(tested: Bundle) -> None:
    class Silent:
        def answer(self, *_: object, **__: object) -> Answer:
            raise UndecodableAnswer("no number")

    report = run_selftest(tested, Silent(), "onnxruntime")
    assert report is not None
    assert [case.objection for case in report.cases] == ["no number"] * len(report.cases)


def test_no_cases_are_no_success() -> None:
    assert not SelfTestReport("onnxruntime", 1e-3, ()).passed


@pytest.mark.parametrize("name", ["engine", "engine.lsengine"])
def test_an_engine_that_knows_only_some_questions_is_asked_those(
    checkpoint: Path, tmp_path: Path, name: str
) -> None:
    path = tiny_engine.build(checkpoint, tmp_path / name, scope=SCOPE, is_demo=True)
    digest = make_selftest(path, threads=1)
    bundle = open_bundle(path, tmp_path / "cache")
    assert bundle.manifest.digest == digest
    with Engine.open(path, threads=1, cache=tmp_path / "cache") as engine:
        report = run_selftest(bundle, engine, "onnxruntime")
    assert report is not None
    assert report.passed
    assert [case.name for case in report.cases] == ["cap", "tablets", "code"]


def test_making_a_test_again_replaces_it_and_the_signature(checkpoint: Path, tmp_path: Path) -> None:
    path = tiny_engine.build(checkpoint, tmp_path / "engine")
    first = make_selftest(path, threads=1)
    sign_bundle(path, new_key(tmp_path / "keys").private)
    assert make_selftest(path, threads=1) == first
    assert verify_bundle(path).signature is None


def test_a_bundle_without_vectors_has_no_report(bundle: Path, engine: Observable, tmp_path: Path) -> None:
    assert run_selftest(open_bundle(bundle, tmp_path), engine, "onnxruntime") is None
    require_passed(None, "tiny")


def test_vectors_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    for content in (b"", b"nothing", pack([])[:20]):
        path.write_bytes(content)
        with pytest.raises(DamagedBundle, match="no self-test vectors"):
            unpack(path)


def test_a_text_only_engine_is_asked_nothing_about_pictures(tested: Bundle) -> None:
    manifest = tested.manifest
    assert manifest.onnx is not None
    blind = replace(manifest, onnx=replace(manifest.onnx, vision=None))
    assert [case.picture for case in cases_of(blind)] == [False, False]


def test_cases_survive_the_file(tmp_path: Path) -> None:
    cases = [
        Case("a", Prompt("i", "q"), picture=True, values=("x", "y")),
        Case("b", Prompt(question="r", raw=True), picture=False),
        Case("c", Prompt("n"), picture=True, limits=(1, 4)),
        Case("d", Prompt("é"), picture=True, pattern="[a-z]"),
    ]
    rows = np.arange(4, dtype=np.float32)
    (tmp_path / FILE_NAME).write_bytes(
        pack([Vector(case, rows, np.arange(2), np.array([1, np.inf], np.float32)) for case in cases])
    )
    assert [vector.case for vector in unpack(tmp_path / FILE_NAME)] == cases
    assert isinstance(cases[1].grammar, Free)


def test_the_picture_never_changes() -> None:
    shown = picture()
    assert (shown.shape, shown.dtype) == ((96, 128, 3), np.uint8)
    assert int(shown.astype(np.int64).sum()) == int(picture().astype(np.int64).sum())
    assert shown.std() > 30


def test_tolerances_follow_the_precision() -> None:
    assert tolerance_of("fp32") < tolerance_of("fp16") < tolerance_of("int4-block32")
    assert tolerance_of("nobody knows") == tolerance_of("int4")


def test_a_builder_adds_vectors_before_it_packs(checkpoint: Path, tmp_path: Path) -> None:
    early = tiny_engine.build(checkpoint, tmp_path / "early.lsengine", selftest=True)
    late = tiny_engine.build(checkpoint, tmp_path / "late.lsengine")
    make_selftest(late)
    assert verify_bundle(early).selftest is not None
    assert verify_bundle(early).files == verify_bundle(late).files


def test_an_engine_for_short_questions_is_asked_those_that_fit(checkpoint: Path, tmp_path: Path) -> None:
    path = tiny_engine.build(checkpoint, tmp_path / "short", context_tokens=40, selftest=True)
    assert [vector.case.name for vector in unpack(path / FILE_NAME)] == ["words"]
    with pytest.raises(PromptTooLong, match="too small for any"):
        tiny_engine.build(checkpoint, tmp_path / "none", context_tokens=4, selftest=True)
    assert not (tmp_path / "none").exists()
