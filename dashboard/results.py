"""One result in full: its pictures, every probability, reasons, timings by stage, and hashes.

For the quality engineer at a desk. Finds the result by its id alone, whichever device has it.
"""

from __future__ import annotations

import re

import grpc
from flask import Blueprint, abort, render_template

from lineside.dashboard import errors, present
from lineside.dashboard.current import fleet
from lineside.dashboard.devices.fleet import FollowedDevice
from lineside.dashboard.devices.values import Result

blueprint = Blueprint("results", __name__)

RESULT_ID = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z-]{0,63}")


@blueprint.get("/results/<result_id>")
def result_page(result_id: str) -> str | tuple[str, int]:
    """The page of one result."""
    if not RESULT_ID.fullmatch(result_id):
        abort(404)
    silent = []
    for device in _likeliest_first(result_id):
        try:
            found = device.result(result_id)
        except grpc.RpcError:
            silent.append(fleet().key(device))
            continue
        if found is not None:
            return _page(device, found)
    if silent:
        return errors.page(503, "error_silent", "", ", ".join(silent))
    asked = ", ".join(fleet().key(device) for device in fleet().devices)
    return errors.page(404, "error_result", "error_result_hint", asked)


def _likeliest_first(result_id: str) -> list[FollowedDevice]:
    """Devices that remember the result before those that would have to be asked."""
    return sorted(fleet().devices, key=lambda device: device.memory.find(result_id) is None)


def _page(device: FollowedDevice, result: Result) -> str:
    card = device.card(result.recipe)
    return render_template(
        "results/result.html",
        device_key=fleet().key(device),
        result=result,
        card=card,
        overlay=present.overlay(result),
        questions=present.questions(result, card),
        headline=present.headline(result),
        crops=[e for e in result.evidence if e.role != "frame"],
    )
