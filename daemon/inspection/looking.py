"""What each question is shown of one job: crops of the frame, a clip of the seconds before it, a reference.

Pure. Knows plans, frames and gates; asks no engine and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lineside.daemon.engine_worker.messages import Ask
from lineside.daemon.gates.check import check_picture
from lineside.daemon.inspection.crops import RegionOutsideFrame, cut, place
from lineside.daemon.inspection.job import Job
from lineside.daemon.inspection.pictures import encode_crop, encode_golden, encode_strip
from lineside.daemon.inspection.plan import Look
from lineside.daemon.values import Box, EvidenceImage, Frame, Picture, Reason, ReasonCode
from lineside.engines.base import Clip, Image


@dataclass(frozen=True, slots=True)
class Seen:
    """What one question is shown. `box`: around all of it, in fractions of the frame.

    `crops`: one a place, BGR; of a clip the one from the trigger's frame. `clip`: oldest first,
    that one last.
    """

    look: Look
    crops: tuple[Picture, ...]
    box: Box
    objections: tuple[Reason, ...]
    clip: tuple[Picture, ...] = ()

    def ask(self) -> Ask:
        """The question with its pictures as the engine has them: the reference first, then the part."""
        images: list[Image | Clip] = []
        if self.look.golden is not None:
            images.append(_rgb(self.look.golden))
        if self.look.clip is not None:
            images.append(Clip(np.stack([_rgb(picture) for picture in self.clip]), self.look.clip.fps))
        else:
            images += [_rgb(crop) for crop in self.crops]
        return Ask(tuple(images), self.look.prompt, self.look.grammar)

    def evidence(self) -> list[EvidenceImage]:
        """Everything the engine was shown for this question, lossless."""
        name = self.look.ask
        shown = [encode_golden(self.look.golden, name)] if self.look.golden is not None else []
        if self.clip:
            return [*shown, encode_strip(self.clip, name)]
        return [*shown, *(encode_crop(crop, name) for crop in self.crops)]


def look_at(job: Job, frame: Frame) -> tuple[list[Seen], tuple[Reason, ...]]:
    """What each question is shown, and why some questions are shown nothing."""
    recipe = job.plan.loaded.recipe
    anchor = job.part_box if recipe.anchor == "part" else None
    if recipe.anchor == "part" and anchor is None:
        message = "the recipe's regions lie on the part, and no part was found in the picture"
        return [], (Reason(ReasonCode.IMAGE_QUALITY, message),)
    seen: list[Seen] = []
    outside: list[Reason] = []
    for look in job.plan.looks:
        try:
            seen.append(_see(job, frame, look, anchor))
        except RegionOutsideFrame as problem:
            outside.append(Reason(ReasonCode.IMAGE_QUALITY, str(problem), look.ask))
    return seen, tuple(outside)


def _see(job: Job, frame: Frame, look: Look, anchor: Box | None) -> Seen:
    gates = job.plan.loaded.recipe.gates
    crops: list[Picture] = []
    boxes: list[Box] = []
    objections: list[Reason] = []
    for name, region in look.places:
        crop, box = cut(frame.image, place(region, anchor))
        crops.append(crop)
        boxes.append(box)
        objections += check_picture(crop, look.ask, name, gates, job.plan.baseline)
    clip: tuple[Picture, ...] = ()
    if look.clip is not None:
        frames = job.clips.get(look.clip, ())
        if len(frames) < look.clip.frames:
            message = (
                f"{len(frames)} of the clip's {look.clip.frames} pictures are there: the camera has not "
                f"shown enough of them in the last {look.clip.seconds:g} s"
            )
            objections.append(Reason(ReasonCode.NO_FRAME, message, look.ask))
        # The same pixels in every picture: where the part lay earlier is not known.
        clip = tuple(cut(one.image, place(look.places[0][1], anchor))[0] for one in frames)
    return Seen(look, tuple(crops), _around(boxes), tuple(objections), clip)


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _rgb(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
