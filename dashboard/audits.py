"""Who changed what: the audit, and whether it is whole. For engineers and admins."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from lineside.dashboard.current import reading
from lineside.dashboard.people import audit
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.reading import people

blueprint = Blueprint("audits", __name__)

ROWS = 100


@blueprint.get("/audit")
@needs(Role.ENGINEER, everywhere=True)
def index() -> str:
    """Its rows, newest first."""
    return _page(None)


@blueprint.post("/audit/verify")
@needs(Role.ENGINEER, everywhere=True)
def verify() -> str:
    """Computes the chain of hashes anew, and says whether it holds."""
    with reading() as session:
        return _page(audit.verify(session))


def _page(check: audit.Check | None) -> str:
    told = request.args
    wanted = people.Wanted(*(told.get(name, "").strip()[:100] for name in ("who", "action", "subject")))
    with reading() as session:
        rows, page, pages = people.audit_rows(session, wanted, told.get("page", 1, type=int) or 1, ROWS)
        return render_template(
            "audit/audit.html",
            rows=rows,
            page=page,
            pages=pages,
            wanted=wanted,
            kept={name: told[name] for name in ("who", "action", "subject") if told.get(name)},
            check=check,
        )
