"""Draws on a copy of the picture what was looked at and what was found, for people without the dashboard."""

from __future__ import annotations

import cv2
import numpy as np

from lineside.daemon.values import Box, Picture, ResultDraft, Verdict

COLOURS = {  # BGR
    Verdict.OK: (80, 160, 30),
    Verdict.NOT_OK: (40, 40, 215),
    Verdict.NOT_DECIDABLE: (0, 150, 230),
}
WORDS = {Verdict.OK: "OK", Verdict.NOT_OK: "NG", Verdict.NOT_DECIDABLE: "Review"}
PAPER = (250, 250, 250)
INK = (25, 25, 25)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotate(picture: Picture, draft: ResultDraft) -> Picture:
    """A copy with the part's box, each question's region and answer, and the verdict in words."""
    canvas = np.ascontiguousarray(picture.copy())
    scale = max(canvas.shape[1] / 960, 0.5)
    bad = {finding.ask for finding in draft.findings if finding.is_defect}
    doubtful = {reason.ask for reason in draft.reasons} - bad
    if draft.part_box is not None:
        _frame(canvas, draft.part_box, (200, 200, 200), 1)
    for outcome in draft.outcomes:
        verdict = Verdict.NOT_OK if outcome.ask in bad else Verdict.OK
        verdict = Verdict.NOT_DECIDABLE if outcome.ask in doubtful else verdict
        x, y = _frame(canvas, outcome.box, COLOURS[verdict], max(round(2 * scale), 1))
        _label(
            canvas,
            f"{outcome.ask}: {outcome.value} {outcome.confidence:.2f}",
            (x, y),
            COLOURS[verdict],
            scale,
        )
    reasons = "; ".join(reason.message for reason in draft.reasons)
    words = f"{WORDS[draft.verdict]}  {reasons}"[:110]
    _label(canvas, words, (round(8 * scale), round(30 * scale)), COLOURS[draft.verdict], 1.3 * scale)
    return canvas


def _frame(canvas: Picture, box: Box, colour: tuple[int, int, int], thickness: int) -> tuple[int, int]:
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = (
        round(box[0] * width),
        round(box[1] * height),
        round(box[2] * width),
        round(box[3] * height),
    )
    cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA)
    return x0, y0 - 4


def _label(
    canvas: Picture, text: str, at: tuple[int, int], colour: tuple[int, int, int], scale: float
) -> None:
    size, thickness = 0.5 * scale, max(round(scale), 1)
    # The font has ASCII only; what it lacks is shown as such rather than as question marks in a reading.
    text = text.encode("ascii", "replace").decode()
    (width, height), below = cv2.getTextSize(text, FONT, size, thickness)
    x, y = at[0], max(at[1], height + 4)
    cv2.rectangle(canvas, (x, y - height - 4), (x + width + 8, y + below), PAPER, cv2.FILLED)
    cv2.rectangle(canvas, (x, y - height - 4), (x + 3, y + below), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x + 6, y - 1), FONT, size, INK, thickness, cv2.LINE_AA)
