"""Quality: rates with n and interval, Pareto, p-chart with run rules, by shift, station, line or lot."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta

from flask import Blueprint, Response, render_template, request

from lineside.dashboard import charts
from lineside.dashboard.current import reading, surroundings
from lineside.dashboard.exports import cell
from lineside.dashboard.people.guard import person
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.plant import read_plant
from lineside.dashboard.present import wilson
from lineside.dashboard.reading.quality import BY, LONGEST, Quality, Reader, Scope
from lineside.dashboard.reading.statistics import Subgroup, p_chart

blueprint = Blueprint("quality", __name__)

DAYS = 7
FILTERS = ("since", "until", "shift", "line", "device", "station", "lot", "by", "of")
OF = ("ng", "review")


@blueprint.get("/quality")
@needs(Role.VIEWER)
def index() -> str:
    """The page."""
    scope, by = _scope(), _one_of("by", BY)
    found, of = _read(scope, by), _one_of("of", OF)
    groups = [
        Subgroup(m.counts.total, m.counts.not_ok if of == "ng" else m.counts.not_decidable)
        for m in found.moments
    ]
    chart = p_chart(groups)
    bars, left_out = charts.pareto_bars(found.defects)
    return render_template(
        "quality/quality.html",
        scope=scope,
        by=by,
        ways=BY,
        of=of,
        kept={name: value for name in FILTERS if (value := request.args.get(name))},
        found=found,
        chart=chart,
        drawing=charts.p_drawing(chart, found.moments),
        size=(charts.WIDTH, charts.HEIGHT, charts.LEFT, charts.RIGHT, charts.TOP, charts.BOTTOM),
        bars=bars,
        left_out=left_out,
        share=_share,
        shift_now=_shift_now(),
    )


@blueprint.get("/quality/report")
@needs(Role.VIEWER)
def report() -> str:
    """A shift on paper: this one, or the one that `?shift=` names."""
    scope = _report_scope()
    return render_template(
        "quality/report.html",
        scope=scope,
        found=_read(scope, "station"),
        kept={name: value for name in FILTERS if (value := request.args.get(name))},
        now=surroundings().now(),
        share=_share,
    )


@blueprint.get("/quality/report.csv")
@needs(Role.VIEWER)
def report_csv() -> Response:
    """The same shift as CSV: a row for each station."""
    scope = _report_scope()
    found = _read(scope, "station")
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(
        ("shift", "station", "where", "n", "ok", "not_ok", "not_decidable", "first_pass", "low_95", "high_95")
    )
    for row in found.rows:
        n = row.counts.total
        low, high = wilson(row.counts.ok, n) if n else (0.0, 1.0)
        told = (
            scope.shift,
            row.name,
            row.detail,
            n,
            row.counts.ok,
            row.counts.not_ok,
            row.counts.not_decidable,
        )
        share = round(row.counts.ok / n, 6) if n else ""
        writer.writerow([cell(value) for value in (*told, share, round(low, 6), round(high, 6))])
    response = Response(written.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="lineside-shift-report.csv"'
    return response


def _read(scope: Scope, by: str) -> Quality:
    config = surroundings().config
    with reading() as session:
        shifts = read_plant(session, config).shifts
        return Reader(session, person(), scope, shifts, config.timezone).read(by)


def _scope() -> Scope:
    told = {name: request.args.get(name, "").strip()[:200] for name in FILTERS}
    shift = told["shift"]
    until = _date(told["until"]) or _date(_shift_now()) or surroundings().now().date()
    since = _date(told["since"]) or until - timedelta(days=DAYS - 1)
    if _date(shift):
        since = until = _date(shift) or until
    else:
        shift = ""
    since = max(min(since, until), until - LONGEST)
    return Scope(since, until, shift, told["line"], told["device"], told["station"], told["lot"])


def _report_scope() -> Scope:
    scope = _scope()
    shift = scope.shift or _shift_now()
    day = _date(shift) or scope.until
    return Scope(day, day, shift, scope.line, scope.device, scope.station)


def _shift_now() -> str:
    config = surroundings().config
    with reading() as session:
        return read_plant(session, config).plan(config.timezone).shift_of(surroundings().now())


def _date(words: str) -> date | None:
    try:
        read = date.fromisoformat(words[:10])
    except ValueError:
        return None
    return read if 2000 <= read.year < 9000 else None


def _one_of(name: str, known: tuple[str, ...]) -> str:
    wish = request.args.get(name, "")
    return wish if wish in known else known[0]


def _share(part: int, total: int) -> tuple[float, float, float] | None:
    """A share with its interval, in percent; None without parts."""
    if not total:
        return None
    low, high = wilson(part, total)
    return 100 * part / total, 100 * low, 100 * high
