"""Opening engines: what cannot be run is refused in plain words; a narrow engine knows its own questions."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import tiny_engine
from safetensors.numpy import load_file, save_file

import lineside.engines
from lineside.engines import Engine, familiarity
from lineside.engines.base import Choice, Count, Free, Grammar, Prompt, Text
from lineside.engines.bundle import write_bundle
from lineside.engines.errors import BadImage, DamagedBundle, IncompatibleBundle, UnknownQuestion

SCOPE = [
    {"id": "cap", "instruction": "Is the cap ok?", "kind": "choice", "values": ["ok", "cracked"]},
    {"id": "tablets", "instruction": "How many?", "kind": "count", "values": ["0", "1", "2"]},
    {"id": "code", "instruction": "Read the code.", "kind": "text", "pattern": "^K[0-9]{2}$"},
]
PICTURE = np.random.default_rng(3).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def changed(bundle: Path, out: Path, change: Any, **fields: Any) -> Path:
    """The bundle again, its files changed by `change` and sealed anew."""
    work = out.parent / f"{out.name}-files"
    shutil.copytree(bundle, work)
    manifest = json.loads((work / "manifest.json").read_text())
    change(work, manifest)
    write_bundle(work, manifest | fields, out)
    return out


def edit_json(name: str, **values: Any) -> Any:
    def change(folder: Path, _manifest: dict[str, Any]) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def test_a_bundle_opens_as_a_folder_and_as_an_archive(bundle: Path, tmp_path: Path) -> None:
    archive = changed(bundle, tmp_path / "engine.lsengine", lambda *_: None)
    with Engine.open(archive, threads=1, cache=tmp_path / "cache") as packed, Engine.open(bundle) as plain:
        assert packed.info.digest == plain.info.digest
        assert (packed.info.name, packed.info.runtime) == ("tiny", "onnxruntime")
        assert packed.info.scope is None
        grammar = Choice(("ok", "cracked"))
        one, other = (engine.answer([PICTURE], Prompt("Ok?"), grammar) for engine in (packed, plain))
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_the_package_offers_the_way_in_and_nothing_else() -> None:
    assert lineside.engines.Engine is Engine
    with pytest.raises(AttributeError, match="Motor"):
        _ = lineside.engines.Motor  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("runtime", "says"), [("gpu", "not part of this software: choose auto"), ("", "tensorrt-rtx")]
)
def test_an_unknown_runtime_is_refused(bundle: Path, runtime: str, says: str) -> None:
    with pytest.raises(IncompatibleBundle, match=says):
        Engine.open(bundle, runtime)


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this machine has CUDA")
def test_a_runtime_this_machine_has_not_is_refused_with_what_to_install(bundle: Path) -> None:
    with pytest.raises(IncompatibleBundle, match=r"CUDAExecutionProvider.*lineside\[cuda\]"):
        Engine.open(bundle, "onnxruntime-cuda")


def test_the_context_is_the_bundles_or_less(bundle: Path) -> None:
    assert Engine.open(bundle, context_tokens=100, threads=1).info.context_tokens == 100
    assert Engine.open(bundle, threads=1).info.context_tokens == 512
    for wrong in (0, 513):
        with pytest.raises(IncompatibleBundle, match="512"):
            Engine.open(bundle, context_tokens=wrong)


def break_graph(folder: Path, _manifest: dict[str, Any]) -> None:
    (folder / "onnx" / "decoder.onnx").write_bytes(b"no graph")


def swap_graphs(folder: Path, _manifest: dict[str, Any]) -> None:
    shutil.copy(folder / "onnx" / "vision.onnx", folder / "onnx" / "decoder.onnx")


def swap_vision(folder: Path, _manifest: dict[str, Any]) -> None:
    shutil.copy(folder / "onnx" / "decoder.onnx", folder / "onnx" / "vision.onnx")


def plain(_folder: Path, manifest: dict[str, Any]) -> None:
    manifest["builds"]["onnx"]["dialect"] = "plain"


def tensorrt_only(_folder: Path, manifest: dict[str, Any]) -> None:
    manifest["builds"] = {"tensorrt": {}}


def no_json(folder: Path, _manifest: dict[str, Any]) -> None:
    (folder / "tokenizer.json").write_text("{}")


def strange_familiarity(folder: Path, _manifest: dict[str, Any]) -> None:
    (folder / familiarity.FILE_NAME).write_bytes(b"????????")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (break_graph, IncompatibleBundle, "decoder.onnx does not load"),
        (swap_graphs, IncompatibleBundle, "decoder.onnx has no"),
        (swap_vision, IncompatibleBundle, "vision.onnx has no"),
        (plain, IncompatibleBundle, "plain dialect"),
        (tensorrt_only, IncompatibleBundle, "builds for tensorrt only"),
        (no_json, DamagedBundle, "tokenizer.json cannot be read"),
        (strange_familiarity, DamagedBundle, "familiarity.safetensors cannot be read"),
        (edit_json("config.json", model_type="llama"), IncompatibleBundle, "llama"),
        (edit_json("preprocessor_config.json", patch_size=8), DamagedBundle, "patch sizes"),
        (edit_json("preprocessor_config.json", resample=0), IncompatibleBundle, "resample"),
        (edit_json("config.json", image_token_id=9999), IncompatibleBundle, "no token 9999"),
    ],
)
def test_a_sealed_bundle_that_does_not_fit_together_is_refused(
    bundle: Path, tmp_path: Path, change: Any, error: type[Exception], says: str
) -> None:
    out = changed(bundle, tmp_path / "engine", change)
    with pytest.raises(error, match=says):
        Engine.open(out, threads=1)


def test_graphs_of_another_size_than_the_configuration_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    out = tiny_engine.build(checkpoint, tmp_path / "one")

    def change(folder: Path, _manifest: dict[str, Any]) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["vocab_size"] += 1
        (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(DamagedBundle, match="vocabulary"):
        Engine.open(changed(out, tmp_path / "two", change), threads=1)


@pytest.fixture(scope="module")
def narrow(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows three questions, with familiarity statistics for the first."""
    place = tmp_path_factory.mktemp("narrow")
    folder = shutil.copytree(checkpoint, place / "checkpoint")
    generator = np.random.default_rng(5)
    embeddings = generator.normal(size=(40, 9, 48)).astype(np.float32)
    stats = familiarity.fit(embeddings[:20], ["ok"] * 20, embeddings[20:])
    familiarity.save_stats(folder / familiarity.FILE_NAME, {"cap": stats})
    return tiny_engine.build(folder, place / "engine", scope=SCOPE, is_demo=True, card={"about": "a test"})


def test_a_narrow_engine_says_what_it_is(narrow: Path) -> None:
    info = Engine.open(narrow, threads=1).info
    assert info.is_demo
    assert info.scope == ("Is the cap ok?", "How many?", "Read the code.")
    assert info.card == {"about": "a test"}


@pytest.mark.parametrize(
    ("prompt", "grammar"),
    [
        (Prompt("Is the cap ok?"), Choice(("cracked", "ok"))),
        (Prompt("Is the cap ok?"), Choice(("ok",))),
        (Prompt("How many?"), Count(0, 2)),
        (Prompt("How many?"), Count(1, 2)),
        (Prompt("Read the code."), Text("K[0-9]{2}")),
    ],
)
def test_a_narrow_engine_answers_what_it_was_trained_for(
    narrow: Path, prompt: Prompt, grammar: Grammar
) -> None:
    with Engine.open(narrow, threads=1) as engine:
        engine.warm(prompt, grammar)
        assert engine.answer([PICTURE], prompt, grammar).confidence > 0


@pytest.mark.parametrize(
    ("prompt", "grammar", "says"),
    [
        (
            Prompt("Is the lid ok?"),
            Choice(("ok", "cracked")),
            "'Is the cap ok\\?' \\(choice\\); 'How many\\?'",
        ),
        (Prompt("Is the cap ok?", "Really?"), Choice(("ok", "cracked")), "not trained for"),
        (Prompt("Is the cap ok?", raw=True), Choice(("ok", "cracked")), "not trained for"),
        (Prompt("Is the cap ok?"), Choice(("ok", "rusty")), "'rusty'.*It knows: ok, cracked"),
        (Prompt("Is the cap ok?"), Text("ok"), "as a choice, not as a text"),
        (Prompt("Is the cap ok?"), Free(), "as a choice"),
        (Prompt("How many?"), Count(0, 3), "'3'.*It knows: 0, 1, 2"),
        (Prompt("Read the code."), Text("[A-Z]{3}"), r"K\[0-9\]"),
    ],
)
def test_a_narrow_engine_does_not_pretend_to_know_more(
    narrow: Path, prompt: Prompt, grammar: Grammar, says: str
) -> None:
    with Engine.open(narrow, threads=1) as engine:
        with pytest.raises(UnknownQuestion, match=says):
            engine.answer([PICTURE], prompt, grammar)
        with pytest.raises(UnknownQuestion, match=says):
            engine.warm(prompt, grammar)


def test_familiarity_is_the_distance_over_the_threshold_of_the_question(narrow: Path) -> None:
    with Engine.open(narrow, threads=1) as engine:
        answer = engine.answer([PICTURE], Prompt("Is the cap ok?"), Choice(("ok", "cracked")))
        plan = engine._parts.planner.plan(  # type: ignore[union-attr]
            Prompt("Is the cap ok?"), Choice(("ok", "cracked")), [_shape(PICTURE)]
        )
        stats = familiarity.load_stats(narrow / familiarity.FILE_NAME)["cap"]
        assert answer.familiarity == pytest.approx(familiarity.distance(plan.embeds, stats) / stats.threshold)
        assert engine.answer([PICTURE], Prompt("How many?"), Count(0, 2)).familiarity is None


def _shape(picture: np.ndarray) -> Any:
    from lineside.engines.chat import VisionShape

    return VisionShape(picture.shape[0] // 8, picture.shape[1] // 8)


def test_two_sessions_in_two_threads_do_not_disturb_each_other(bundle: Path) -> None:
    prompts = [Prompt("Is it ok?"), Prompt("Is it very much ok indeed?")]
    grammar = Choice(("ok", "cracked", "missing"))

    def ask(prompt: Prompt, times: int) -> list[dict[str, float]]:
        with Engine.open(bundle, threads=1) as engine:
            return [dict(engine.answer([PICTURE], prompt, grammar).probabilities) for _ in range(times)]

    alone = [ask(prompt, 1)[0] for prompt in prompts]
    found: dict[int, list[dict[str, float]]] = {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: ask(prompts[at], 20)}), name=f"ask-{at}")
        for at in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert found == {at: [alone[at]] * 20 for at in (0, 1)}


def test_an_engine_without_a_vision_tower_answers_words_and_refuses_pictures(
    checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    whole = json.loads((folder / "config.json").read_text())
    text = whole["text_config"] | {"tie_word_embeddings": True, "eos_token_id": 320}
    (folder / "config.json").write_text(json.dumps(text))
    tensors = load_file(folder / "model.safetensors")
    words = "model.language_model."
    save_file(
        {name.replace(words, "model."): tensor for name, tensor in tensors.items() if name.startswith(words)},
        folder / "model.safetensors",
    )
    with Engine.open(tiny_engine.build(folder, tmp_path / "engine"), threads=1) as engine:
        grammar = Choice(("ok", "cracked"))
        engine.warm(Prompt("Judge.", "Ok?"), grammar)
        answer = engine.answer([], Prompt("Judge.", "Ok?"), grammar)
        assert (answer.tokens.image, answer.tokens.prefix > 0, answer.familiarity) == (0, True, None)
        with pytest.raises(BadImage, match="no vision tower"):
            engine.answer([PICTURE], Prompt("Judge.", "Ok?"), grammar)
