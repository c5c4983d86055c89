"""Measure the demo engine on parts it was never trained on and write `report.json` and `report.md`.

`python -m lineside.engines.demo.evaluate --bundle FILE` asks through the runtime that inspects parts; `--run
DIR` asks a training run's weights with torch instead. Seeded: the same engine gets the same parts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lineside.engines.demo.asking import Ask, Said, ask_engine
from lineside.engines.demo.conditions import CONDITIONS
from lineside.engines.demo.crops import part_crops
from lineside.engines.demo.measures import (
    Asked,
    Judged,
    accuracy,
    by_severity,
    calibration_error,
    confusion,
    review_curve,
)
from lineside.engines.demo.questions import CAP, CODE, QUESTIONS, TABLETS, right_answer
from lineside.engines.demo.report import markdown
from lineside.engines.demo.truth import FULL_BLISTER, PartTruth, balanced_truth, code_is_valid, random_truth

SEED = 3_000_017
MINIMUM_CONFIDENCE = 0.9
REVIEW_SHARES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
Draw = Callable[[PartTruth, np.random.Generator], dict[str, Any]]
Answers = dict[str, Said]


def ask_parts(ask: Ask, truths: Sequence[PartTruth], draw: Draw, rng: np.random.Generator) -> list[Answers]:
    """Every question about every part."""
    answers = []
    for truth in truths:
        crops = draw(truth, rng)
        answers.append({q.id: ask(q, crops[q.region]) for q in QUESTIONS})
    return answers


def asked(truths: Sequence[PartTruth], answers: Sequence[Answers]) -> dict[str, list[Asked]]:
    """Records by question."""
    found: dict[str, list[Asked]] = {q.id: [] for q in QUESTIONS}
    for truth, given in zip(truths, answers, strict=True):
        for question in QUESTIONS:
            said = given[question.id]
            severity = truth.severity if question is CAP else 0.0
            right = str(right_answer(question, truth))
            found[question.id].append(Asked(right, said.answer, said.confidence, said.unfamiliar, severity))
    return found


def judged(truth: PartTruth, given: Answers) -> Judged:
    """The demo recipe's rules: cap ok, six tablets, a code whose check digit is right."""
    code = given[CODE.id].answer
    passed = (
        given[CAP.id].answer == "ok" and given[TABLETS.id].answer == str(FULL_BLISTER) and code_is_valid(code)
    )
    doubt = max(1 - said.confidence for said in given.values())
    if max(said.unfamiliar for said in given.values()) > 1:
        doubt += 1.0
    return Judged(truth.good, passed, doubt)


def abstains(record: Asked) -> bool:
    """Whether the daemon would not decide on this answer: unsure, or unfamiliar."""
    return record.confidence < MINIMUM_CONFIDENCE or record.unfamiliar > 1


def in_scope(ask: Ask, parts: int) -> dict[str, Any]:
    """Accuracy, confusion and calibration by question on parts of the station as commissioned."""
    rng = np.random.default_rng((SEED, 1))
    truths = [balanced_truth(rng) for _ in range(parts)]
    answers = ask_parts(ask, truths, part_crops, rng)
    found: dict[str, Any] = {}
    for name, records in asked(truths, answers).items():
        found[name] = {
            "crops": len(records),
            "accuracy": accuracy(records),
            "ece": calibration_error(records),
            "abstention": sum(abstains(r) for r in records) / len(records),
            "wrong_and_decided": sum(not r.hit and not abstains(r) for r in records) / len(records),
            "milliseconds_median": float(np.median([a[name].milliseconds for a in answers])),
        }
        if name == CODE.id:
            pairs = [(a, b) for r in records for a, b in zip(r.right, r.given, strict=False)]
            found[name]["character_accuracy"] = sum(a == b for a, b in pairs) / max(1, len(pairs))
        else:
            found[name]["confusion"] = confusion(records)
        if name == CAP.id:
            found[name]["by_severity"] = by_severity(records)
    return found


def verdicts(ask: Ask, parts: int) -> dict[str, Any]:
    """Escapes and overkill of whole parts against the share sent to review; half of the parts are bad."""
    rng = np.random.default_rng((SEED, 2))
    truths = [random_truth(rng, good_share=0.5) for _ in range(parts)]
    answers = ask_parts(ask, truths, part_crops, rng)
    results = [judged(truth, given) for truth, given in zip(truths, answers, strict=True)]
    return {
        "parts": parts,
        "good": sum(r.good for r in results),
        "bad": sum(not r.good for r in results),
        "review_curve": review_curve(results, REVIEW_SHARES),
    }


def out_of_scope(ask: Ask, parts: int) -> dict[str, Any]:
    """How often it abstains, and decides wrongly, under conditions it was not trained on."""
    found: dict[str, Any] = {}
    for number, (name, draw) in enumerate(CONDITIONS.items()):
        rng = np.random.default_rng((SEED, 3, number))
        truths = [balanced_truth(rng) for _ in range(parts)]
        records = asked(truths, ask_parts(ask, truths, draw, rng))
        found[name] = {
            question: {
                "crops": len(of),
                "abstention": sum(abstains(r) for r in of) / len(of),
                "unfamiliar": sum(r.unfamiliar > 1 for r in of) / len(of),
                "accuracy": accuracy(of),
                "wrong_and_decided": sum(not r.hit and not abstains(r) for r in of) / len(of),
            }
            for question, of in records.items()
        }
    return found


def evaluate(ask: Ask, engine: dict[str, str], parts: int, strange: int) -> dict[str, Any]:
    """The whole report."""
    return {
        "engine": engine,
        "seed": SEED,
        "minimum_confidence": MINIMUM_CONFIDENCE,
        "in_scope": in_scope(ask, parts),
        "verdicts": verdicts(ask, parts),
        "out_of_scope": out_of_scope(ask, strange),
    }


def main() -> None:
    """Parse the command line, measure, write both reports."""
    parser = argparse.ArgumentParser(description="Measure the Lineside demo engine on held-out parts.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bundle", type=Path, help="engine bundle to measure")
    source.add_argument("--run", type=Path, help="training run to measure with torch")
    parser.add_argument(
        "--out", type=Path, help="folder for report.json and report.md (default: beside the bundle)"
    )
    parser.add_argument("--parts", type=int, default=3000)
    parser.add_argument("--strange", type=int, default=300, help="parts per condition not trained on")
    options = parser.parse_args()
    out: Path = options.out or (options.bundle or options.run).resolve().parent
    if options.bundle:
        from lineside.engines import Engine

        with Engine.open(options.bundle) as engine:
            info = {
                "name": engine.info.name,
                "version": engine.info.version,
                "runtime": engine.info.runtime,
                "digest": engine.info.digest,
            }
            report = evaluate(ask_engine(engine), info, options.parts, options.strange)
    else:
        from lineside.engines.demo.monitor import open_run

        asker, info = open_run(options.run)
        report = evaluate(asker, info, options.parts, options.strange)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "report.md").write_text(markdown(report))


if __name__ == "__main__":
    main()
