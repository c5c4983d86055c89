"""The server's side of enrolling over an authority's folder: for plants without a fleet dashboard.

Knows HTTP and TLS; what is signed is the authority's decision. `enrol` describes the protocol.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import structlog
from cryptography import x509

from lineside.daemon.pki import files
from lineside.daemon.pki.authority import Authority, TokenRefused
from lineside.daemon.pki.device import DeviceKeys, Enrolment, due
from lineside.daemon.pki.files import PkiError
from lineside.daemon.pki.identity import SERVICE, Identity

LARGEST_REQUEST = 64 * 1024
SILENCE_S = 20.0
SERVER_DAYS = 90
Now = Callable[[], datetime]
_log = structlog.get_logger(__name__)


class EnrolServer:
    """Serves one authority. Threads: `enrol-server`, and one a connection, each given up after SILENCE_S."""

    def __init__(
        self, authority: Authority, folder: Path, names: tuple[str, ...], address: tuple[str, int], now: Now
    ) -> None:
        """`folder`: where the server's own key and certificate lie. `names`: what devices call it."""
        self._authority = authority
        self._keys = DeviceKeys(folder / "server", "enrolment")
        self._names = names
        self._address = address
        self._now = now
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._thread: threading.Thread | None = None
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> int:
        """Listens and serves; gives the port. Raises PkiError, OSError."""
        self._keys.ensure()
        context = self._context
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._certify()
        # Asked for and not demanded: whoever enrols has none yet. `/v1/renew` demands it.
        context.load_verify_locations(cadata=files.pem(self._authority.certificate).decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = _Server(self._address, _handler(self._authority, self._now), context)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="enrol-server", kwargs={"poll_interval": 0.2}
        )
        self._thread.start()
        return int(self._server.server_address[1])

    def keep_fresh(self) -> None:
        """Signs the server's own certificate anew in its last third; new connections use it."""
        life = self._keys.lifetime()
        if life is None or due(life, self._now()):
            self._certify()

    def close(self) -> None:
        """Ends the server."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def _certify(self) -> None:
        identity = Identity(self._authority.fleet, SERVICE, "enrolment")
        request = files.request_in(self._keys.request_text())
        leaf = self._authority.sign(request, identity, self._now(), names=self._names, days=SERVER_DAYS)
        files.replace(self._keys.certificate, files.pem(leaf, self._authority.certificate))
        self._context.load_cert_chain(self._keys.certificate, self._keys.key)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext
    ) -> None:
        self._context = context
        super().__init__(address, handler)

    def finish_request(self, request: object, client_address: object) -> None:
        """In the connection's own thread: a peer that says nothing must not hold up the others."""
        assert isinstance(request, socket.socket)
        request.settimeout(SILENCE_S)
        with self._context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that failed (a scan, a foreign certificate) is noted in one line."""
        _log.info("enrol_connection_failed", peer=str(client_address), exc_info=True)


def _handler(authority: Authority, now: Now) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "lineside"
        sys_version = ""
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path != "/v1/ca":
                self._refuse(404, "NOT_FOUND", "there is /v1/ca, /v1/enrol and /v1/renew")
                return
            self._say(200, files.pem(authority.certificate), "application/x-pem-file")

        def do_POST(self) -> None:
            try:
                body = self._body()
                if self.path == "/v1/enrol":
                    device = _text(body, "device")
                    given = authority.enrol(_text(body, "token"), device, _text(body, "csr"), now())
                elif self.path == "/v1/renew":
                    given = authority.renew(self._peer(), _text(body, "csr"), now())
                else:
                    self._refuse(404, "NOT_FOUND", "there is /v1/ca, /v1/enrol and /v1/renew")
                    return
            except TokenRefused as error:
                _log.warning("enrol_refused", peer=self.client_address[0], because=str(error))
                self._refuse(403, "TOKEN_REFUSED", str(error))
            except PkiError as error:
                _log.warning("enrol_refused", peer=self.client_address[0], because=str(error))
                self._refuse(400, "BAD_REQUEST", str(error))
            else:
                _log.info("enrolled", peer=self.client_address[0], path=self.path)
                self._say(200, json.dumps(_answer(given)).encode(), "application/json")

        def _peer(self) -> x509.Certificate:
            assert isinstance(self.connection, ssl.SSLSocket)
            shown = self.connection.getpeercert(binary_form=True)
            if not shown:
                raise PkiError("a renewal needs the present certificate as that of the connection")
            return x509.load_der_x509_certificate(shown)

        def _body(self) -> Mapping[str, object]:
            length = self.headers.get("Content-Length", "")
            if not length.isascii() or not length.isdigit() or int(length) > LARGEST_REQUEST:
                self.close_connection = True
                raise PkiError(f"a request has a Content-Length of at most {LARGEST_REQUEST}")
            try:
                found = json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError):
                raise PkiError("the request is not JSON") from None
            if not isinstance(found, dict):
                raise PkiError("the request is not a JSON object")
            return found

        def _refuse(self, status: int, code: str, message: str) -> None:
            error = {"error": {"code": code, "message": message}}
            self._say(status, json.dumps(error).encode(), "application/json")

        def _say(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent: what matters is logged above, and requests hold secrets."""

    return Handler


def _text(body: Mapping[str, object], key: str) -> str:
    found = body.get(key)
    if not isinstance(found, str) or not found:
        raise PkiError(f"the request has no text '{key}'")
    return found


def _answer(enrolment: Enrolment) -> dict[str, str]:
    return {
        "certificate": enrolment.certificate,
        "authority": enrolment.authority,
        "fleet": enrolment.fleet,
    }
