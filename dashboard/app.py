"""The application factory: puts together configuration, database, pages and their protection.

`create_app` starts nothing and follows nobody: that is another process's work (see `ingest`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Event

from cryptography import x509
from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from lineside.dashboard import (
    audits,
    drafts,
    engines,
    errors,
    fleet,
    navigation,
    pictures,
    present,
    quality,
    recipes,
    results,
    reviews,
    security,
    settings,
    sign_in,
    trace,
    users,
    wall,
)
from lineside.dashboard.alerts import pages as alerts
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import DashboardConfig, RefusedConfiguration, Tls
from lineside.dashboard.current import (
    EXTENSION,
    LANGUAGE_COOKIE,
    Surroundings,
    language,
    presenter,
)
from lineside.dashboard.database.connection import Database
from lineside.dashboard.devices.doors import Doors
from lineside.dashboard.devices.recipes import RecipeCards
from lineside.dashboard.enrolment import pages as enrolments
from lineside.dashboard.live import LivePages
from lineside.dashboard.people import guard
from lineside.dashboard.reading.devices import DeviceBook
from lineside.dashboard.texts import LANGUAGES

MOST_LIVE_PAGES = 48
A_YEAR_S = 365 * 24 * 3600
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
LARGEST_FORM = 1024 * 1024
BLUEPRINTS = (
    fleet.blueprint,
    wall.blueprint,
    results.blueprint,
    reviews.blueprint,
    trace.blueprint,
    quality.blueprint,
    recipes.blueprint,
    drafts.blueprint,
    engines.blueprint,
    alerts.blueprint,
    users.blueprint,
    audits.blueprint,
    enrolments.blueprint,
    settings.blueprint,
    pictures.blueprint,
    sign_in.blueprint,
)
"""Every page: a blueprint for each noun."""


def create_app(
    config: DashboardConfig,
    database: Database,
    *,
    now: Callable[[], datetime] = utc_now,
    stopping: Event | None = None,
    most_live_pages: int = MOST_LIVE_PAGES,
) -> Flask:
    """The dashboard as a WSGI application over a database that is up to date."""
    app = Flask(__name__, static_folder="static", template_folder="templates")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    # A name that resolves to this machine (DNS rebinding) must not open these pages to another site.
    app.config["TRUSTED_HOSTS"] = hosts(config)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_FORM
    app.extensions[EXTENSION] = Surroundings(
        config=config,
        database=database,
        book=DeviceBook(database, config, now),
        doors=Doors(config.device_tls),
        cards=RecipeCards(),
        now=now,
        stopping=stopping if stopping is not None else Event(),
        live_pages=LivePages(most_live_pages),
    )
    if config.proxied_as is not None:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=0)  # type: ignore[method-assign]
    security.harden(app, secure=config.is_secure)
    errors.register(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    guard.stand(app)
    app.jinja_env.filters["verdict"] = present.css_class
    app.jinja_env.filters["short"] = present.short
    app.jinja_env.filters["strip_paths"] = present.strip_paths

    @app.context_processor
    def for_every_page() -> dict[str, object]:
        shown = presenter()
        return {
            "p": shown,
            "t": shown.t,
            "language": language(),
            "zone": shown.zone_name(now()),
            "visitor": guard.visitor(),
            "csrf": guard.csrf(),
            "navigation": navigation.entries(guard.visitor()),
            "menu": navigation.menu(guard.visitor()),
        }

    @app.after_request
    def remember_language(response: Response) -> Response:
        wish = request.args.get("lang")
        if wish is not None and wish in LANGUAGES and request.endpoint != "static":
            response.set_cookie(
                LANGUAGE_COOKIE,
                wish,
                max_age=A_YEAR_S,
                httponly=True,
                secure=config.is_secure,
                samesite="Lax",
                path="/",
            )
        return response

    return app


def hosts(config: DashboardConfig) -> list[str]:
    """The names under which browsers may come in: this machine's own, the certificate's, the proxy's."""
    names = {*LOCAL_HOSTS, str(config.listen).rsplit(":", 1)[0]}
    if config.proxied_as is not None:
        names.add(config.proxied_as)
    if config.tls is not None:
        names.update(names_of(config.tls))
    return sorted(names)


def names_of(tls: Tls) -> list[str]:
    """The names and addresses a certificate is for, as a Host header writes them.

    Raises:
        RefusedConfiguration: the file is no certificate, or one without names, which no browser accepts.
    """
    try:
        certificate = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        raise RefusedConfiguration(
            f"{tls.certificate} is no PEM certificate with names (subjectAltName) in it"
        ) from None
    addresses = [f"[{a}]" if a.version == 6 else str(a) for a in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]
