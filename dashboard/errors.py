"""Pages for what went wrong: what is missing, why, and the way on. Knows no device."""

from __future__ import annotations

from flask import Flask, Response, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, SecurityError

KNOWN = {
    400: "error_400",
    401: "error_401",
    403: "error_403",
    404: "error_404",
    405: "error_405",
    429: "error_429",
}
HINTS = {
    "error_401": "error_401_hint",
    "error_403": "error_403_hint",
    "error_404": "error_404_hint",
    "error_500": "error_500_hint",
}


def page(status: int, key: str, hint: str, detail: str = "") -> tuple[str, int]:
    """An error page; `key` and `hint` name texts, `detail` is shown as it is (escaped)."""
    return render_template("errors/error.html", status=status, key=key, hint=hint, detail=detail), status


def register(app: Flask) -> None:
    """Designed pages instead of the framework's bare ones."""

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> ResponseReturnValue:
        code = error.code or 500
        if isinstance(error, SecurityError):
            # An untrusted host name: nothing of ours, not even a link, is made for it.
            return Response("not this host\n", code, mimetype="text/plain")
        key = KNOWN.get(code, "error_500" if code >= 500 else "error_400")
        if error.description == "csrf":
            return page(code, "error_form", "error_form_hint")
        return page(code, key, HINTS.get(key, ""))
