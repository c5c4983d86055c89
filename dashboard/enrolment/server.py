"""Speaks with devices that want in: HTTPS and JSON, in a process of its own beside the authority's key.

    GET  /v1/ca      the authority's certificate, PEM
    POST /v1/enrol   {"token", "device", "csr"}   {"certificate", "authority", "fleet"}
    POST /v1/renew   {"csr"}, the present certificate as the connection's   the same
    errors           {"error": {"code", "message"}} with 400, 403 or 404

Knows HTTP and TLS; who is let in is the desk's decision.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.config import Address
from lineside.dashboard.database.connection import Database
from lineside.dashboard.enrolment import desk
from lineside.dashboard.enrolment.signing import (
    Authority,
    RefusedRequest,
    identity_of,
    key_print,
    names_of,
    read_request,
    write_private,
)

LARGEST_REQUEST = 64 * 1024
SILENCE_S = 20.0
RENEW_EVERY_S = 24 * 3600.0

log = structlog.get_logger(__name__)


class EnrolmentServer:
    """Serves one authority. Threads: `enrolment`, and one a connection, each given up after SILENCE_S."""

    def __init__(
        self,
        database: Database,
        authority: Authority,
        folder: Path,
        names: tuple[str, ...],
        address: Address,
        now: Callable[[], datetime],
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """`names`: what devices call this machine. `certificate`: its own and key, of a plant's authority."""
        self.database, self.authority, self.now = database, authority, now
        self._folder, self._names, self._address, self._certificate = folder, names, address, certificate
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> int:
        """Listens and serves; gives the port. Raises RefusedRequest, OSError."""
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.certify()
        # Asked for and not demanded: whoever enrols has none yet. `/v1/renew` demands it.
        self._context.load_verify_locations(cadata=self.authority.pem)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._server = _Server((self._address.host, self._address.port), self, self._context)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="enrolment", kwargs={"poll_interval": 0.2}
        )
        self._thread.start()
        return int(self._server.server_address[1])

    def certify(self) -> None:
        """The server's own certificate, made anew; new connections use it. Raises RefusedRequest."""
        if self._certificate is not None:
            self._context.load_cert_chain(*self._certificate)
            return
        key = ec.generate_private_key(ec.SECP256R1())
        request = (
            x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        )
        chain = self.authority.sign(request, "service", "enrolment", self._names, self.now())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files = self._folder / "dashboard-enrolment.crt", self._folder / "dashboard-enrolment.key"
        write_private(files[0], chain.encode())
        write_private(files[1], private)
        self._context.load_cert_chain(*files)

    def close(self) -> None:
        """Ends the server."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def enrol(self, told: dict[str, Any], source: str) -> dict[str, str]:
        """Answers a device that wants in. Raises RefusedRequest, desk.NotLetIn."""
        secret, device, request = (_text(told, name) for name in ("token", "device", "csr"))
        with self.database.writing() as session:
            found = desk.admit(
                session, secret, device, request, source, self.now(), signs=self.authority.signs
            )
        if isinstance(found, desk.NotLetIn):
            raise found
        names = list(dict.fromkeys((device, *found.names)))
        return self._answer(
            found.certificate or self.authority.sign(found.request, "device", device, names, self.now())
        )

    def renew(self, told: dict[str, Any], shown: bytes | None) -> dict[str, str]:
        """Answers a device that has a certificate. Raises RefusedRequest, desk.NotLetIn."""
        request = read_request(_text(told, "csr"))
        if not shown:
            raise RefusedRequest("a renewal needs the present certificate as that of the connection")
        present = x509.load_der_x509_certificate(shown)
        self.authority.must_have_signed(present)
        _fleet, kind, device = identity_of(present)
        if kind != "device":
            raise RefusedRequest("only devices of this fleet renew here")
        if not present.not_valid_before_utc <= self.now() < present.not_valid_after_utc:
            raise RefusedRequest("the present certificate is over: enrol again with a new token")
        if key_print(request) != key_print(present):
            raise RefusedRequest("the request is for another key than the present certificate")
        with self.database.reading() as session:
            if desk.is_refused(session, key_print(present)):
                raise desk.NotLetIn("REFUSED", "a person has refused this device")
        return self._answer(self.authority.sign(request, "device", device, names_of(present), self.now()))

    def _answer(self, certificate: str) -> dict[str, str]:
        return {"certificate": certificate, "authority": self.authority.pem, "fleet": self.authority.fleet}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], served: EnrolmentServer, context: ssl.SSLContext) -> None:
        self.served, self._context = served, context
        super().__init__(address, _Handler)

    def finish_request(self, request: object, client_address: object) -> None:
        """In the connection's own thread: a peer that says nothing must not hold up the others."""
        assert isinstance(request, socket.socket)
        request.settimeout(SILENCE_S)
        with self._context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that failed (a scan, a foreign certificate) is noted in one line."""
        log.info("connection failed", peer=str(client_address), exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version, protocol_version = "lineside", "", "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/ca":
            self._say(200, self.server.served.authority.pem.encode(), "application/x-pem-file")
        else:
            self._refuse(404, "NOT_FOUND", "there is /v1/ca, /v1/enrol and /v1/renew")

    def do_POST(self) -> None:
        served, source = self.server.served, str(self.client_address[0])
        try:
            told = self._body()
            if self.path == "/v1/enrol":
                answer = served.enrol(told, source)
            elif self.path == "/v1/renew":
                assert isinstance(self.connection, ssl.SSLSocket)
                answer = served.renew(told, self.connection.getpeercert(binary_form=True))
            else:
                self._refuse(404, "NOT_FOUND", "there is /v1/ca, /v1/enrol and /v1/renew")
                return
        except desk.NotLetIn as refusal:
            log.warning("not let in", peer=source, because=str(refusal))
            self._refuse(403, refusal.code, str(refusal))
        except RefusedRequest as error:
            log.warning("refused", peer=source, because=str(error))
            self._refuse(400, "BAD_REQUEST", str(error))
        except SQLAlchemyError as error:
            log.error("cannot reach the database", error=str(error)[:300])
            self._refuse(503, "UNAVAILABLE", "the fleet's database does not answer: try again in a minute")
        else:
            log.info("certificate given", peer=source, path=self.path)
            self._say(200, json.dumps(answer).encode(), "application/json")

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > LARGEST_REQUEST:
            self.close_connection = True
            raise RefusedRequest(f"a request has a Content-Length of at most {LARGEST_REQUEST}")
        try:
            told = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise RefusedRequest("the request is not JSON") from None
        if not isinstance(told, dict):
            raise RefusedRequest("the request is not a JSON object")
        return told

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._say(
            status, json.dumps({"error": {"code": code, "message": message}}).encode(), "application/json"
        )

    def _say(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: what matters is logged above, and requests hold secrets."""


def _text(told: dict[str, Any], key: str) -> str:
    found = told.get(key)
    if not isinstance(found, str) or not found:
        raise RefusedRequest(f"the request has no text '{key}'")
    return found
