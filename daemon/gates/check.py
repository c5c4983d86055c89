"""The gates: whether one crop is fit to be judged, and if not, by which number. Pure.

A gate can only object; what it objects to becomes NOT_DECIDABLE.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lineside.daemon.gates.baseline import Baseline, Reference
from lineside.daemon.gates.measure import Grey, Quality, grey_of, measure, shift_between, sketch_of
from lineside.daemon.gates.options import GateOptions
from lineside.daemon.values import Picture, Reason, ReasonCode

FLAT = 1.0
"""A picture whose grey levels vary by less shows nothing at all: a lens cap, a dead sensor."""
FOUND = 0.5
"""Outlines less alike than this at the best shift say nothing about where they went."""


def check_picture(
    picture: Picture, ask: str, region: str | None, gates: GateOptions, baseline: Baseline | None
) -> tuple[Reason, ...]:
    """Every objection to one crop; empty when it is fit.

    `ask`: the question to blame. `region`: the recipe's name of what was cut out; None: the whole.
    """
    if 0 in picture.shape:
        return (Reason(ReasonCode.IMAGE_QUALITY, "empty picture", ask),)
    grey = grey_of(picture)
    reference = baseline.of(region) if baseline is not None else None
    messages = _objections(grey, measure(grey), gates, reference)
    return tuple(Reason(ReasonCode.IMAGE_QUALITY, message, ask) for message in messages)


def _objections(grey: Grey, seen: Quality, gates: GateOptions, reference: Reference | None) -> Iterator[str]:
    if float(np.std(grey)) < FLAT:
        yield f"shows nothing: grey levels vary by {float(np.std(grey)):.2f}, at least {FLAT:g} is needed"
    yield from _blur(seen, gates, reference)
    yield from _exposure(seen, gates)
    yield from _glare(seen, gates, reference)
    if reference is not None:
        yield from _drift(seen, gates, reference)
        yield from _moved(grey, gates, reference)


def _blur(seen: Quality, gates: GateOptions, reference: Reference | None) -> Iterator[str]:
    if gates.blur == "off":
        return
    limit = gates.blur.min_sharpness
    if reference is not None:
        limit = gates.blur.min_ratio * reference.numbers.sharpness
    if seen.sharpness < limit:
        yield f"blurred: sharpness {seen.sharpness:.5f}, at least {limit:.5f} is needed"


def _exposure(seen: Quality, gates: GateOptions) -> Iterator[str]:
    limits = gates.exposure
    if limits == "off":
        return
    if seen.mean < limits.min_mean or seen.dark > limits.max_dark:
        yield (
            f"too dark: mean {seen.mean:.0f} (limit {limits.min_mean:g}), "
            f"{seen.dark:.0%} black (limit {limits.max_dark:.0%})"
        )
    if seen.mean > limits.max_mean or seen.bright > limits.max_bright:
        yield (
            f"too bright: mean {seen.mean:.0f} (limit {limits.max_mean:g}), "
            f"{seen.bright:.0%} saturated (limit {limits.max_bright:.0%})"
        )


def _glare(seen: Quality, gates: GateOptions, reference: Reference | None) -> Iterator[str]:
    if gates.glare == "off":
        return
    limit = gates.glare.max_share
    if reference is not None:
        limit = reference.numbers.glare + gates.glare.max_more
    if seen.glare > limit:
        yield f"glare: a saturated spot of {seen.glare:.0%} of the region, at most {limit:.0%} is allowed"


def _drift(seen: Quality, gates: GateOptions, reference: Reference) -> Iterator[str]:
    if gates.drift == "off":
        return
    low = reference.numbers.darkest / gates.drift.max_ratio
    high = reference.numbers.brightest * gates.drift.max_ratio
    if not low <= seen.mean <= high:
        yield f"the light has changed: mean {seen.mean:.0f}, good parts allow {low:.0f} to {high:.0f}"


def _moved(grey: Grey, gates: GateOptions, reference: Reference) -> Iterator[str]:
    if gates.region_moved == "off":
        return
    shift, likeness = shift_between(sketch_of(grey), reference.sketch)
    limit = gates.region_moved.max_shift
    if likeness >= FOUND and shift > limit:
        yield f"moved by {shift:.0%} of the region, at most {limit:.0%} is allowed"
