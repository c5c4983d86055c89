"""Whatever happens, an inspection ends in one verdict, and nothing but sound answers makes it OK."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspection_doubles import RECIPE, ScriptedEngine, answer

from lineside.daemon.engine_worker.messages import EngineProblem, ProblemKind
from lineside.daemon.inspection.inspect import Inspector
from lineside.daemon.inspection.plan import make_plan
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.values import Reason, ReasonCode, Verdict
from lineside.engines.base import Choice, Text

GOOD = {"Is the cap on?": answer("ok"), "Read the code.": answer("A123")}


def codes(draft) -> set[ReasonCode]:
    return {reason.code for reason in draft.reasons}


def test_good_answers_make_an_ok_that_names_recipe_engine_and_times(make_job, clock, plan):
    draft, pictures = Inspector(ScriptedEngine(GOOD), clock).inspect(make_job())

    assert draft.verdict is Verdict.OK
    assert draft.intake.recipe == plan.ref
    assert draft.engine is not None
    assert draft.engine.digest == "d" * 64
    assert {"camera_to_verdict", "trigger_to_verdict", "vision", "prefill", "decode"} <= set(draft.timings_ms)
    assert [(picture.role, picture.ask) for picture in pictures] == [
        ("frame", None),
        ("crop", "cap"),
        ("crop", "code"),
    ]


def test_the_engine_sees_rgb_crops_with_the_recipes_words_and_grammar(make_job, clock):
    engine = ScriptedEngine(GOOD)
    job = make_job()

    Inspector(engine, clock).inspect(job)

    cap = engine.asked[0]
    assert cap.images[0].shape == (80, 80, 3)
    assert (cap.images[0][..., ::-1] == job.frame.image[10:90, 20:100]).all()
    assert cap.grammar == Choice(("ok", "missing"))
    assert engine.asked[1].grammar == Text("[A-Z][0-9]{3}", 64)


def test_a_named_defect_is_not_ok_with_the_place_it_was_seen(make_job, clock):
    script = {**GOOD, "Is the cap on?": answer("missing")}

    draft, _ = Inspector(ScriptedEngine(script), clock).inspect(make_job())

    assert draft.verdict is Verdict.NOT_OK
    (defect,) = [finding for finding in draft.findings if finding.is_defect]
    assert defect.label == "missing"
    assert defect.box == (0.1, 0.1, 0.5, 0.9)


def test_an_engine_that_does_not_answer_by_the_deadline_makes_it_late_and_is_told_to_forget_it(
    make_job, clock
):
    engine = ScriptedEngine({**GOOD, "Read the code.": None})
    fast = make_plan(parse_recipe(RECIPE.replace("deadline_ms: 400", "deadline_ms: 30"), "r"))

    draft, _ = Inspector(engine, clock).inspect(make_job(plan=fast))

    assert (draft.verdict, codes(draft)) == (Verdict.NOT_DECIDABLE, {ReasonCode.LATE})
    assert engine.cancelled == 1


def test_a_part_that_waited_past_its_deadline_is_not_asked_any_more(make_job, clock):
    engine = ScriptedEngine(GOOD)
    job = make_job()
    clock.ns += 401_000_000

    draft, _ = Inspector(engine, clock).inspect(job)

    assert codes(draft) == {ReasonCode.LATE}
    assert engine.asked == []


def test_no_frame_and_an_old_frame_are_never_judged(make_job, clock):
    inspector = Inspector(ScriptedEngine(GOOD), clock)

    without, _ = inspector.inspect(make_job(has_frame=False))
    stale, _ = inspector.inspect(make_job(age_ms=501))

    assert (without.verdict, codes(without)) == (Verdict.NOT_DECIDABLE, {ReasonCode.NO_FRAME})
    assert (stale.verdict, codes(stale)) == (Verdict.NOT_DECIDABLE, {ReasonCode.STALE_FRAME})


def test_a_frozen_camera_seen_at_the_trigger_decides_nothing(make_job, clock):
    reason = Reason(ReasonCode.STALE_FRAME, "the same picture for 12 s")
    job = dataclasses.replace(make_job(), trouble=reason)

    draft, pictures = Inspector(ScriptedEngine(GOOD), clock).inspect(job)

    assert (draft.verdict, draft.reasons) == (Verdict.NOT_DECIDABLE, (reason,))
    assert pictures, "a person must be able to see what the camera showed"


@pytest.mark.parametrize("kind", list(ProblemKind))
def test_every_problem_of_the_engine_ends_as_not_decidable_with_its_reason(make_job, clock, kind):
    problem = EngineProblem(kind, "it went wrong")

    draft, _ = Inspector(ScriptedEngine({**GOOD, "Read the code.": problem}), clock).inspect(make_job())

    assert draft.verdict is Verdict.NOT_DECIDABLE
    assert codes(draft) == {problem.reason}


def test_a_region_outside_the_picture_is_not_decidable_while_the_others_are_still_asked(make_job, clock):
    engine = ScriptedEngine(GOOD)
    moved = dataclasses.replace(
        make_job(),
        plan=make_plan(
            parse_recipe(RECIPE.replace("kind: every_frame", "kind: motion") + "anchor: part\n", "r")
        ),
        part_box=(0.5, 0.0, 1.3, 1.0),
    )

    draft, _ = Inspector(engine, clock).inspect(moved)

    assert draft.verdict is Verdict.NOT_DECIDABLE
    assert [(reason.code, reason.ask) for reason in draft.reasons] == [(ReasonCode.IMAGE_QUALITY, "code")]
    assert [ask.prompt.instruction for ask in engine.asked] == ["Is the cap on?"]


def test_evidence_of_ok_parts_is_kept_by_share(make_job, clock):
    none = make_plan(parse_recipe(RECIPE.replace("OK: 100%", "OK: 0%"), "r"))

    _, pictures = Inspector(ScriptedEngine(GOOD), clock).inspect(make_job(plan=none))

    assert pictures == ()


values = st.one_of(st.text(max_size=6), st.integers(-5, 5), st.sampled_from(["ok", "missing", "A123"]))
confidences = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 0.5, 0.9, 1.0]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(values, confidences, values, confidences, st.one_of(st.none(), st.floats()))
def test_whatever_an_engine_says_ok_needs_two_sound_sure_familiar_good_answers(
    make_job, clock, cap, cap_confidence, code, code_confidence, familiarity
):
    script = {
        "Is the cap on?": answer(cap, cap_confidence, familiarity),
        "Read the code.": answer(code, code_confidence),
    }

    draft, _ = Inspector(ScriptedEngine(script), clock).inspect(make_job())

    if draft.verdict is Verdict.OK:
        assert cap == "ok"
        assert code == "A123" or (len(str(code)) == 4 and str(code)[0].isalpha())
        assert cap_confidence >= 0.9
        assert code_confidence >= 0.9
        assert familiarity is None or familiarity <= 1
    else:
        assert draft.reasons, "a verdict that is not OK says why"


def test_no_part_in_the_picture_is_said_once_and_nothing_is_asked(make_job, clock):
    engine = ScriptedEngine(GOOD)
    text = RECIPE.replace("kind: every_frame", "kind: motion") + "anchor: part\n"

    draft, _ = Inspector(engine, clock).inspect(make_job(plan=make_plan(parse_recipe(text, "r"))))

    assert draft.verdict is Verdict.NOT_DECIDABLE
    assert [(reason.code, reason.ask) for reason in draft.reasons] == [(ReasonCode.IMAGE_QUALITY, None)]
    assert engine.asked == []
