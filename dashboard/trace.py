"""Trace: finds results by part, lot, time, station, defect or text; as lists and files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, render_template, request, stream_with_context
from flask.typing import ResponseReturnValue

from lineside.dashboard import errors, exports, present
from lineside.dashboard.current import reading, surroundings
from lineside.dashboard.devices.values import Verdict
from lineside.dashboard.people.guard import person
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.reading import trace
from lineside.dashboard.reading.trace import Found, Search

blueprint = Blueprint("trace", __name__)

FILTERS = ("q", "lot", "device", "station", "verdict", "defect", "text", "since", "until")
VERDICTS = tuple(verdict.value for verdict in Verdict)
CSS = {verdict.value: kind for verdict, kind in present.CLASSES.items()}


@blueprint.get("/trace")
@needs(Role.VIEWER)
def index() -> str:
    """What was found, newest first."""
    search, before = _search(), request.args.get("before", type=int)
    late, found, crops = False, [], {}
    with reading() as session:
        try:
            found = trace.page(session, person(), search, surroundings().now(), before)
        except trace.TookTooLong:
            late = True
        else:
            crops = trace.crops(session, found[: trace.PAGE])
    kept = {name: value for name in FILTERS if (value := request.args.get(name))}
    return render_template(
        "trace/trace.html",
        search=search,
        found=found[: trace.PAGE],
        crops=crops,
        older=found[trace.PAGE - 1].row if len(found) > trace.PAGE else None,
        before=before,
        late=late,
        kept=kept,
        verdicts=VERDICTS,
        css=CSS,
        parquet=_has_parquet(),
    )


@blueprint.get("/trace/export.csv")
@needs(Role.VIEWER)
def as_csv() -> Response:
    """All that was found, as CSV."""
    return _file(exports.as_csv(_batches()), "text/csv; charset=utf-8", "csv")


@blueprint.get("/trace/export.parquet")
@needs(Role.VIEWER)
def as_parquet() -> ResponseReturnValue:
    """All that was found, as Parquet; says what is missing where pyarrow is not installed."""
    try:
        write = exports.parquet()
    except exports.NoParquet:
        return errors.page(501, "trace_no_parquet", "trace_no_parquet_hint", "")
    return _file(write(_batches()), "application/vnd.apache.parquet", "parquet")


def _batches() -> Iterator[list[Found]]:
    search, who, now = _search(), person(), surroundings().now()
    with reading() as session:
        yield from trace.everything(session, who, search, now)


def _file(told: Iterator[str] | Iterator[bytes], kind: str, ending: str) -> Response:
    response = Response(stream_with_context(told), content_type=kind)
    name = f"lineside-results-{surroundings().now():%Y%m%dT%H%M%SZ}.{ending}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _search() -> Search:
    told = {name: request.args.get(name, "").strip()[:200] for name in FILTERS}
    return Search(
        words=told["q"],
        lot=told["lot"],
        device=told["device"],
        station=told["station"],
        verdict=told["verdict"] if told["verdict"] in VERDICTS else "",
        defect=told["defect"],
        text=told["text"],
        since=moment(told["since"]),
        until=moment(told["until"], end=True),
    )


def moment(words: str, *, end: bool = False) -> datetime | None:
    """A date or a local time as a browser's field gives it, in the plant's zone; None for none.

    A date alone is its beginning; as an `end`, the beginning of the next day, a time the end of its minute.
    """
    zone = surroundings().config.timezone
    try:
        read = datetime.fromisoformat(words)
        if end:
            read += timedelta(days=1) if len(words) == 10 else timedelta(minutes=1)
        aware = read if read.tzinfo else read.replace(tzinfo=zone) if zone else read.astimezone()
        return aware.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def _has_parquet() -> bool:
    try:
        exports.parquet()
    except exports.NoParquet:
        return False
    return True
