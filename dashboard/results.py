"""One result in full: its pictures, every probability, reasons, timings by stage, and hashes.

For the quality engineer at a desk. Found by its id alone, whichever device judged it; one that has not come
here yet is asked for at the devices that are there.
"""

from __future__ import annotations

import re

import grpc
from flask import Blueprint, abort, render_template
from sqlalchemy import select

from lineside.dashboard import errors, present
from lineside.dashboard.cards import known_card
from lineside.dashboard.current import device_or_404, door_to, reading, surroundings
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.result_tables import Result as ResultRow
from lineside.dashboard.database.result_tables import ResultRecord
from lineside.dashboard.devices.values import Result
from lineside.dashboard.people.guard import person
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.reading.devices import place_of, read_record
from lineside.dashboard.reading.story import Story, story
from lineside.dashboard.reading.views import Contact, contact_of

blueprint = Blueprint("results", __name__)

RESULT_ID = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z-]{0,63}")
MOST_ASKED = 5
"""Devices asked for a result that is not here: those whose results are behind."""


@blueprint.get("/results/<result_id>")
@needs(Role.VIEWER)
def result_page(result_id: str) -> str | tuple[str, int]:
    """The page of one result."""
    if not RESULT_ID.fullmatch(result_id):
        abort(404)
    with reading() as session:
        found = session.execute(
            select(Device, ResultRecord.inspection)
            .join(ResultRow, ResultRow.device_id == Device.id)
            .join(ResultRecord, ResultRecord.result == ResultRow.id)
            .where(ResultRow.result_id == result_id)
            .limit(1)
        ).first()
        if found is not None:
            device, record = found
            device_or_404(session, device.device)
            book = surroundings().book
            told = story(session, device, result_id, book.now(), book.silent_after_s(session))
            return _page(device.device, read_record(record), told)
    return _ask_for(result_id)


def _ask_for(result_id: str) -> str | tuple[str, int]:
    """A result that is not here yet: asked for where results may still be under way."""
    book, now = surroundings().book, surroundings().now()
    with reading() as session:
        rows = session.scalars(select(Device).order_by(Device.last_sequence.desc())).all()
        silent_after = book.silent_after_s(session)
    rows = [row for row in rows if person().role_at(place_of(row)) is not None][:MOST_ASKED]
    silent = []
    for row in rows:
        contact, _ = contact_of(row.heard_at, row.watch_heard_at, now, silent_after)
        try:
            result = door_to(row).result(result_id) if contact is Contact.LIVE else None
        except grpc.RpcError:
            contact, result = Contact.SILENT, None
        if result is not None:
            return _page(row.device, result)
        if contact is not Contact.LIVE:
            silent.append(row.device)
    if silent:
        return errors.page(503, "error_silent", "", ", ".join(silent))
    return errors.page(404, "error_result", "error_result_hint", ", ".join(row.device for row in rows))


def _page(device_key: str, result: Result, told: Story | None = None) -> str:
    card = known_card(result.recipe)
    return render_template(
        "results/result.html",
        device_key=device_key,
        result=result,
        story=told,
        card=card,
        overlay=present.overlay(result),
        questions=present.questions(result, card),
        headline=present.headline(result),
        crops=[e for e in result.evidence if e.role != "frame"],
    )
