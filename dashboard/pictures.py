"""Pictures out of devices: stored evidence and newest camera frames, as a browser asks for them."""

from __future__ import annotations

import grpc
from flask import Blueprint, Response, abort

from lineside.dashboard.current import device_or_404, door_to, reading
from lineside.dashboard.devices.channel import PictureRefused
from lineside.dashboard.devices.evidence import EVIDENCE_ID
from lineside.dashboard.devices.values import Picture
from lineside.dashboard.people.rights import Role, needs

blueprint = Blueprint("pictures", __name__)

GONE = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)


@blueprint.get("/devices/<device>/evidence/<evidence_id>")
@needs(Role.VIEWER)
def evidence(device: str, evidence_id: str) -> Response:
    """A stored picture; it never changes, so a browser may keep it."""
    with reading() as session:
        found = device_or_404(session, device)
    if not EVIDENCE_ID.fullmatch(evidence_id):
        abort(404)
    try:
        picture = door_to(found).evidence.get(evidence_id)
    except (grpc.RpcError, PictureRefused) as error:
        return _refusal(error)
    return _answer(picture, "private, max-age=86400, immutable")


@blueprint.get("/devices/<device>/cameras/<camera>/frame")
@needs(Role.VIEWER)
def frame(device: str, camera: str) -> Response:
    """A camera's newest frame, with its age in milliseconds when it was fetched."""
    with reading() as session:
        found = device_or_404(session, device)
    if camera not in {c["camera"] for c in found.cameras}:
        abort(404)
    try:
        picture = door_to(found).frames.newest(camera)
    except (grpc.RpcError, PictureRefused) as error:
        return _refusal(error)
    response = _answer(picture, "no-store")
    if picture.age_s is not None:
        response.headers["X-Lineside-Frame-Age-Ms"] = str(round(picture.age_s * 1000))
    return response


def _answer(picture: Picture, cache_control: str) -> Response:
    response = Response(picture.data, mimetype=picture.media_type)
    response.headers["Cache-Control"] = cache_control
    return response


def _refusal(error: grpc.RpcError | PictureRefused) -> Response:
    """404 for a picture that is gone, 502 for anything else: never a picture in its place."""
    gone = isinstance(error, grpc.Call) and error.code() in GONE
    return Response(
        "not kept any more\n" if gone else "the device did not give the picture\n",
        404 if gone else 502,
        mimetype="text/plain",
    )
