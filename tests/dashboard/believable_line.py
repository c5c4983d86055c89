"""Parts as the demonstration line makes them, drawn and judged by their own truth: data worth looking at.

`python tests/dashboard/believable_line.py --port 50999` plays such a line on a scripted device, for
looking at the dashboard in a browser. Test code only: the dashboard itself never meets the engines.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from lineside.engines.demo.belt import FRAME_HEIGHT, FRAME_WIDTH, random_pose
from lineside.engines.demo.light import Light
from lineside.engines.demo.station import REGIONS, compose_frame, draw_part
from lineside.engines.demo.truth import CAP_CLASSES, PartTruth, random_truth
from lineside.v1 import results_pb2

DEADLINE_MS = 400
RECIPE_TEXT = f"""\
recipe: tray-check
ask:
  - {{id: cap, question: "Is the cap on straight, undamaged, clean and printed right?"}}
  - {{id: tablets, question: "How many tablets are in the blister?"}}
  - {{id: code, question: "Read the lot code on the label."}}
limits: {{deadline_ms: {DEADLINE_MS}}}
"""


def beside(name: str) -> ModuleType:
    """A plain module of this folder: test folders are no packages."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


device_module = beside("scripted_device")


def jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


class Line:
    """Makes one inspection after the other; the same seed makes the same line."""

    def __init__(self, seed: int, good_share: float = 0.9) -> None:
        self.rng = np.random.default_rng(seed)
        self.good_share = good_share
        self.number = 1000 * seed

    def next_part(self, when: datetime, station: str = "tray-1", truth: PartTruth | None = None):
        """The inspection, its frame and its crops."""
        self.number += 1
        truth = truth or random_truth(self.rng, self.good_share)
        pose = random_pose(self.rng, FRAME_WIDTH / 2 + float(self.rng.normal(0, 10)), FRAME_HEIGHT / 2)
        picture = compose_frame([(draw_part(truth, self.rng), pose)], 7.0 * self.number, Light(), self.rng)
        x0, y0, x1, y1 = pose.box()
        part = (x0 / FRAME_WIDTH, y0 / FRAME_HEIGHT, x1 / FRAME_WIDTH, y1 / FRAME_HEIGHT)
        made = device_module.inspection(self.number, station=station, when=when)
        del made.outcomes[:], made.findings[:], made.reasons[:]
        made.part_id = f"{when:%j}-{self.number:05d}"
        made.part_box.CopyFrom(_box(part))
        boxes = {name: _inside(part, REGIONS[name]) for name in ("cap", "blister", "code")}
        unsure = self.rng.uniform() < 0.03
        self._cap(made, truth, boxes["cap"], unsure)
        self._tablets(made, truth, boxes["blister"])
        self._code(made, truth, boxes["code"])
        if made.reasons:
            low = any(r.code == results_pb2.REASON_CODE_LOW_CONFIDENCE for r in made.reasons)
            made.evaluation = (
                device_module.NOT_DECIDABLE if low and not made.findings else device_module.NOT_OK
            )
        made.recipe.recipe, made.recipe.version = "tray-check", 7
        made.engine.engine, made.engine.version = "lineside-demo", "1.0.0"
        took = {
            "gates": float(self.rng.uniform(1, 2)),
            "locate": float(self.rng.uniform(2, 4)),
            "preprocess": float(self.rng.uniform(1, 2)),
            "vision": float(self.rng.uniform(8, 12)),
            "prefill": float(self.rng.uniform(5, 8)),
            "decode": float(self.rng.uniform(9, 16)),
            "store": float(self.rng.uniform(2, 5)),
        }
        made.processing_times_ms.clear()
        made.processing_times_ms.update(took)
        made.processing_times_ms["trigger_to_verdict"] = sum(took.values())
        crops = {
            ask: jpeg(_cut(picture, boxes[region]))
            for ask, region in (("cap", "cap"), ("tablets", "blister"), ("code", "code"))
        }
        return made, jpeg(picture), crops

    def _cap(self, made, truth: PartTruth, box, unsure: bool) -> None:
        sure = float(self.rng.uniform(0.5, 0.7)) if unsure else float(self.rng.uniform(0.955, 0.9995))
        others = [c for c in CAP_CLASSES if c != truth.cap]
        weights = self.rng.dirichlet(np.full(len(others), 0.35)) * (1 - sure)
        shares = {truth.cap: sure, **dict(zip(others, (float(w) for w in weights), strict=True))}
        made.outcomes.append(
            results_pb2.AskOutcome(
                ask="cap",
                kind="choice",
                text_value=truth.cap,
                confidence=sure,
                probabilities=shares,
                familiarity=0.6,
                box=_box(box),
            )
        )
        if unsure:
            text = f"cap: {truth.cap} with {sure:.2f}, below the recipe's 0.90"
            made.reasons.append(
                results_pb2.Reason(code=results_pb2.REASON_CODE_LOW_CONFIDENCE, message=text, ask="cap")
            )
        elif truth.cap != "ok":
            made.findings.append(
                results_pb2.Finding(
                    ask="cap", label=truth.cap, confidence=sure, is_defect=True, box=_box(box)
                )
            )
            made.reasons.append(
                results_pb2.Reason(
                    code=results_pb2.REASON_CODE_FINDING, message=f"cap is {truth.cap}", ask="cap"
                )
            )

    def _tablets(self, made, truth: PartTruth, box) -> None:
        sure = float(self.rng.uniform(0.96, 0.9995))
        near = max(0, truth.tablets - 1)
        shares = {str(truth.tablets): sure, str(near if near != truth.tablets else 1): 1 - sure}
        made.outcomes.append(
            results_pb2.AskOutcome(
                ask="tablets",
                kind="count",
                count_value=truth.tablets,
                confidence=sure,
                probabilities=shares,
                box=_box(box),
            )
        )
        if truth.tablets != 6:
            made.findings.append(
                results_pb2.Finding(
                    ask="tablets",
                    label=f"{truth.tablets} of 6 tablets",
                    confidence=sure,
                    is_defect=True,
                    box=_box(box),
                    count=truth.tablets,
                )
            )
            made.reasons.append(
                results_pb2.Reason(
                    code=results_pb2.REASON_CODE_RULE,
                    message=f"tablets: counted {truth.tablets}, the recipe wants 6",
                    ask="tablets",
                )
            )

    def _code(self, made, truth: PartTruth, box) -> None:
        sure = float(self.rng.uniform(0.93, 0.999))
        made.outcomes.append(
            results_pb2.AskOutcome(
                ask="code",
                kind="text",
                text_value=truth.code,
                confidence=sure,
                runner_up=results_pb2.RunnerUp(
                    value=truth.code[:-2] + "8" + truth.code[-1], probability=(1 - sure) * 0.7
                ),
                box=_box(box),
            )
        )
        if not truth.code_valid:
            made.findings.append(
                results_pb2.Finding(
                    ask="code",
                    label="check digit wrong",
                    confidence=sure,
                    is_defect=True,
                    box=_box(box),
                    text=truth.code,
                )
            )
            made.reasons.append(
                results_pb2.Reason(
                    code=results_pb2.REASON_CODE_RULE,
                    message=f"code: {truth.code} fails its GS1 check digit",
                    ask="code",
                )
            )


def _box(box) -> results_pb2.Box:
    x0, y0, x1, y1 = box
    return results_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _inside(part, region):
    w, h = part[2] - part[0], part[3] - part[1]
    return (
        part[0] + region[0] * w,
        part[1] + region[1] * h,
        part[0] + region[2] * w,
        part[1] + region[3] * h,
    )


def _cut(picture: np.ndarray, box) -> np.ndarray:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = box
    return picture[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)]


CRACKED = PartTruth("cracked", 6, "L24061", True, 0.8)


def furnish(device, line: Line, parts: int, last: PartTruth | None = None) -> None:
    """Stores `parts` inspections, the last one just now, about one every two seconds before that."""
    now = datetime.now(UTC)
    for ahead in range(parts - 1, -1, -1):
        truth = last if ahead == 0 else None
        made, frame, crops = line.next_part(now - timedelta(seconds=1.8 * ahead), truth=truth)
        device.store(made, frame=frame, crops=crops)
        device.frame = frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=50999)
    parser.add_argument("--parts", type=int, default=64)
    parser.add_argument("--every", type=float, default=1.8, help="seconds from part to part; 0 stands still")
    parser.add_argument("--last-cracked", action="store_true")
    arguments = parser.parse_args()
    device = device_module.ScriptedDevice("edge-07", ("tray-1",))
    device.port, device.recipe_text = arguments.port, RECIPE_TEXT
    line = Line(7)
    furnish(device, line, arguments.parts, CRACKED if arguments.last_cracked else None)
    device.start()
    print(f"playing on 127.0.0.1:{device.port}", flush=True)
    while True:
        time.sleep(arguments.every or 3600)
        made, frame, crops = line.next_part(datetime.now(UTC))
        device.store(made, frame=frame, crops=crops)
        device.frame = frame


if __name__ == "__main__":
    main()
