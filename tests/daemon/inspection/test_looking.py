"""What the engine is shown: one crop, several, a reference beside the part, a clip; all of it is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np
import pytest
from inspection_doubles import ScriptedEngine, answer

from lineside.daemon.inspection.inspect import Inspector
from lineside.daemon.inspection.local_engine import LocalEngine
from lineside.daemon.inspection.plan import make_plan
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.recipes.sight import ClipOption
from lineside.daemon.values import ReasonCode, Verdict
from lineside.engines.base import Answer, Clip, Prompt
from lineside.engines.demo.questions import CAP
from lineside.engines.open import Engine

DEMO = Path(__file__).parents[3] / "engines" / "demo" / "demo.lsengine"
GOLDEN = np.random.default_rng(9).integers(0, 256, (48, 32, 3), np.uint8)
CLIP = ClipOption(frames=4, seconds=1.5)

SIGHTS = {
    "one crop": "region: cap",
    "several crops": "regions: [cap, code]",
    "golden": 'region: cap, golden: {file: g.png, sha256: "' + "0" * 64 + '"}',
    "clip": "region: cap, clip: {frames: 4, seconds: 1.5}",
    "golden and clip": 'region: cap, clip: {frames: 4, seconds: 1.5}, golden: {file: g.png, sha256: "'
    + "0" * 64
    + '"}',
}


def plan_of(*asks: str, question: str = "Is it ok?", values: str = "ok, bad"):
    """A recipe whose questions look as `asks` say."""
    lines = "".join(
        f'  - {{id: q{at}, {sight}, question: "{question}", answer: {{choice: [{values}]}}}}\n'
        for at, sight in enumerate(asks)
    )
    text = (
        "recipe: looks\ntrigger: {kind: grpc}\n"
        "regions: {cap: [0.1, 0.1, 0.5, 0.9], code: [0.5, 0.2, 0.9, 0.8]}\n"
        f"ask:\n{lines}"
        "gates: {blur: off, exposure: off, glare: off}\n"
        "limits: {deadline_ms: 600000, max_frame_age_ms: 500}\nevidence: {keep: {OK: 100%}}\n"
    )
    loaded = parse_recipe(text, "looks.yaml")
    return make_plan(loaded, None, {ask.id: GOLDEN for ask in loaded.recipe.ask if ask.golden is not None})


def job_of(make_job, plan, *, frames: int = CLIP.frames):
    """A job whose camera kept `frames` pictures, the newest of them the job's own."""
    job = make_job(plan=plan)
    assert job.frame is not None
    past = [
        dataclasses.replace(
            job.frame,
            index=at,
            image=np.random.default_rng(at).integers(0, 256, job.frame.image.shape, np.uint8),
        )
        for at in range(frames - 1)
    ]
    return dataclasses.replace(job, clips={CLIP: (*past, job.frame)})


class Recording(LocalEngine):
    """A real engine that keeps what it was asked and what it said."""

    def submit(self, asks) -> Future[Sequence[object]]:
        self.asks = asks
        future = super().submit(asks)
        self.answers = future.result()
        return future


@pytest.mark.parametrize("sight", SIGHTS)
def test_a_real_engine_answers_each_kind_of_question_from_a_recipe(make_job, clock, tiny_bundle, sight):
    plan = plan_of(SIGHTS[sight])
    with Engine.open(tiny_bundle, threads=1) as opened:
        engine = Recording(opened)
        draft, _ = Inspector(engine, clock).inspect(job_of(make_job, plan))

        # The recipe's way and the engine's own agree.
        (ask,) = engine.asks
        assert isinstance(engine.answers[0], Answer)
        again = opened.answer(ask.images, ask.prompt, ask.grammar)
    (outcome,) = draft.outcomes
    assert outcome.probabilities == pytest.approx(dict(again.probabilities))
    assert sum(outcome.probabilities.values()) == pytest.approx(1)


def test_several_crops_go_in_the_order_written_and_the_box_is_around_them(make_job, clock):
    plan = plan_of("regions: [code, cap]")
    job = job_of(make_job, plan)
    engine = ScriptedEngine({"Is it ok?": answer("ok")})

    draft, pictures = Inspector(engine, clock).inspect(job)

    code, cap = engine.asked[0].images
    assert (code[..., ::-1] == job.frame.image[20:80, 100:180]).all()
    assert (cap[..., ::-1] == job.frame.image[10:90, 20:100]).all()
    assert draft.outcomes[0].box == (0.1, 0.1, 0.9, 0.9)
    assert [picture.role for picture in pictures] == ["frame", "crop", "crop"]


def test_the_reference_is_shown_before_the_part_and_kept_with_the_evidence(make_job, clock):
    job = job_of(make_job, plan_of(SIGHTS["golden"]))
    engine = ScriptedEngine({"Is it ok?": answer("ok")})

    _, pictures = Inspector(engine, clock).inspect(job)

    golden, part = engine.asked[0].images
    assert (golden == GOLDEN[..., ::-1]).all()
    assert part.shape == (80, 80, 3)
    assert [picture.role for picture in pictures] == ["frame", "golden", "crop"]
    assert (decoded(pictures[1].data) == GOLDEN).all()


def test_a_clip_is_the_same_pixels_over_time_and_kept_bit_for_bit(make_job, clock):
    job = job_of(make_job, plan_of(SIGHTS["clip"]))
    engine = ScriptedEngine({"Is it ok?": answer("ok")})

    _, pictures = Inspector(engine, clock).inspect(job)

    (clip,) = engine.asked[0].images
    assert isinstance(clip, Clip)
    assert (clip.frames.shape, clip.fps) == ((4, 80, 80, 3), 2.0)
    assert (clip.frames[-1][..., ::-1] == job.frame.image[10:90, 20:100]).all()
    assert [picture.role for picture in pictures] == ["frame", "clip"]
    strip = decoded(pictures[1].data)
    assert (np.concatenate(clip.frames, axis=1)[..., ::-1] == strip).all()


def test_a_clip_with_pictures_missing_decides_nothing_and_is_not_asked(make_job, clock):
    engine = ScriptedEngine({"Is it ok?": answer("ok")})

    draft, _ = Inspector(engine, clock).inspect(job_of(make_job, plan_of(SIGHTS["clip"]), frames=3))

    assert draft.verdict is Verdict.NOT_DECIDABLE
    (reason,) = draft.reasons
    assert (reason.code, reason.ask) == (ReasonCode.NO_FRAME, "q0")
    assert "3 of the clip's 4 pictures" in reason.message
    assert engine.asked == []


def test_questions_about_one_crop_share_the_picture_and_the_second_costs_only_its_own_tokens(
    make_job, clock, tiny_bundle
):
    plan = plan_of("region: cap", "region: cap", "region: code")
    with Engine.open(tiny_bundle, threads=1) as opened:
        engine = Recording(opened)
        Inspector(engine, clock).inspect(job_of(make_job, plan))
    first, second, other = (one.tokens for one in engine.answers)

    assert first.image > 0
    assert second.image == 0, "the picture is not read again"
    assert second.prefix >= first.image
    assert second.prompt < first.prompt + first.prefix
    assert other.image > 0


def test_a_question_with_a_crop_of_its_own_has_its_words_first_and_shared_crops_after(make_job):
    alone, *shared = plan_of("region: code", "region: cap", "region: cap").looks

    assert alone.prompt == Prompt(instruction="Is it ok?")
    assert [look.prompt for look in shared] == [Prompt(question="Is it ok?")] * 2
    golden = plan_of("region: cap", SIGHTS["golden"]).looks
    assert all(look.prompt.instruction for look in golden), "another reference is another sight"


TRAINED = {"question": CAP.text, "values": ", ".join(CAP.choices)}


def test_an_engine_trained_on_whole_questions_answers_the_same_whoever_shares_the_crop(make_job, clock):
    found = []
    with Engine.open(DEMO, threads=1) as opened:
        assert opened.info.scope is not None
        for plan in (plan_of("region: cap", **TRAINED), plan_of("region: cap", "region: cap", **TRAINED)):
            engine = Recording(opened)
            Inspector(engine, clock).inspect(job_of(make_job, plan))
            found.append([dict(one.probabilities) for one in engine.answers])

    assert found[1] == found[0] * 2


@pytest.mark.parametrize(("sight", "shown"), [("golden", "2 pictures"), ("clip", "a clip")])
def test_an_engine_trained_on_single_pictures_refuses_more(make_job, clock, sight, shown):
    plan = plan_of(SIGHTS[sight], **TRAINED)
    with Engine.open(DEMO, threads=1) as opened:
        draft, _ = Inspector(LocalEngine(opened), clock).inspect(job_of(make_job, plan))

    assert draft.verdict is Verdict.NOT_DECIDABLE
    assert f"trained on one picture a question, not on {shown}" in draft.reasons[0].message


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
