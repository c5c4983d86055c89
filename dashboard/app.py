"""The application factory: puts together configuration, fleet, pages and their protection.

`create_app` starts nothing: the caller opens the fleet (see `serve`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Event

from flask import Flask, Response, request

from lineside.dashboard import errors, pictures, present, results, security, wall
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.current import (
    EXTENSION,
    LANGUAGE_COOKIE,
    Surroundings,
    language,
    presenter,
)
from lineside.dashboard.devices.fleet import Fleet, utc_now
from lineside.dashboard.live import LivePages
from lineside.dashboard.texts import LANGUAGES

MOST_LIVE_PAGES = 48
A_YEAR_S = 365 * 24 * 3600
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def create_app(
    config: DashboardConfig,
    fleet: Fleet | None = None,
    *,
    now: Callable[[], datetime] = utc_now,
    stopping: Event | None = None,
    most_live_pages: int = MOST_LIVE_PAGES,
) -> Flask:
    """The dashboard as a WSGI application over `fleet` (made from `config` where none is given)."""
    app = Flask(__name__, static_folder="static", template_folder="templates")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    # A name that resolves to this machine (DNS rebinding) must not open these pages to another site.
    app.config["TRUSTED_HOSTS"] = sorted({*LOCAL_HOSTS, str(config.listen).rsplit(":", 1)[0]})
    app.extensions[EXTENSION] = Surroundings(
        config=config,
        fleet=fleet if fleet is not None else Fleet(config, now=now),
        now=now,
        stopping=stopping if stopping is not None else Event(),
        live_pages=LivePages(most_live_pages),
    )
    security.harden(app)
    errors.register(app)
    for blueprint in (wall.blueprint, results.blueprint, pictures.blueprint):
        app.register_blueprint(blueprint)
    app.jinja_env.filters["verdict"] = present.css_class
    app.jinja_env.filters["short"] = present.short

    @app.context_processor
    def for_every_page() -> dict[str, object]:
        shown = presenter()
        return {"p": shown, "t": shown.t, "language": language(), "zone": shown.zone_name(now())}

    @app.after_request
    def remember_language(response: Response) -> Response:
        wish = request.args.get("lang")
        if wish is not None and wish in LANGUAGES and request.endpoint != "static":
            response.set_cookie(
                LANGUAGE_COOKIE, wish, max_age=A_YEAR_S, httponly=True, samesite="Lax", path="/"
            )
        return response

    return app
