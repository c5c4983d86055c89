"""Joining a fleet, from the device's side: a token and a request go out, a certificate comes back.

The protocol (docs/security.md): HTTPS with TLS 1.2 or newer, JSON in UTF-8.

    GET  /v1/ca      → the authority's certificate (PEM), held against the fingerprint first of all
    POST /v1/enrol   {"token", "device", "csr"}  → {"certificate", "authority", "fleet"}
    POST /v1/renew   {"csr"}, with the present certificate as the connection's  → the same
    errors           {"error": {"code", "message"}} with 400, 403 or 413

Only the secret half of the token goes out, and only to a server that the authority vouches for by name.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from lineside.daemon.pki import files
from lineside.daemon.pki.device import DeviceKeys, Enrolment
from lineside.daemon.pki.files import PkiError

LARGEST_ANSWER = 256 * 1024
PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is handed over: which authority may be believed, and the secret that lets a device in."""

    fingerprint: str
    secret: str

    def __repr__(self) -> str:
        return f"Token({self.fingerprint[:8]}…)"


def read_token(text: str) -> Token:
    """A token from its text. Raises PkiError, which does not quote it."""
    fingerprint, dot, secret = text.strip().partition(".")
    hexadecimal = set("0123456789abcdef")
    if not dot or len(fingerprint) != 64 or not secret or not set(fingerprint + secret) <= hexadecimal:
        raise PkiError("this is no token: it is 64 hex digits, a dot, and hex digits, in one line")
    return Token(fingerprint, secret)


def enrol(url: str, token: Token, device: str, request: str) -> Enrolment:
    """Joins the fleet whose server is at `url`.

    Raises:
        PkiError: the server is not the authority's, cannot be reached, or refuses.
    """
    host, port = _address(url)
    authority = _fetch_authority(host, port)
    found = files.certificates_in(authority)
    if len(found) != 1 or files.fingerprint(found[0]) != token.fingerprint:
        raise PkiError(
            f"the server at {url} shows another authority than the token was made by: nothing was sent. "
            "Is the address right?"
        )
    body = {"token": token.secret, "device": device, "csr": request}
    return _asked(host, port, _trusting(authority), "/v1/enrol", body)


def renew(url: str, keys: DeviceKeys) -> Enrolment:
    """A new certificate for the present one. Raises PkiError."""
    host, port = _address(url)
    try:
        context = _trusting(keys.authority.read_text())
        context.load_cert_chain(keys.certificate, keys.key)
    except (OSError, ssl.SSLError) as error:
        raise PkiError(f"the present certificate cannot be used ({error.strerror}): enrol again") from None
    return _asked(host, port, context, "/v1/renew", {"csr": keys.request_text()})


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.path not in {"", "/"}:
        raise PkiError(f"'{parts.scheme}://{parts.hostname}' is no fleet address: give https://host:port")
    return parts.hostname, port or 8443


def _fetch_authority(host: str, port: int) -> str:
    # Nothing is believed of this connection: what it brings is compared with the fingerprint.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    status, answer = _call(host, port, context, "GET", "/v1/ca", None)
    if status != 200:
        raise PkiError(f"https://{host}:{port} is no fleet server: it answered {status} to /v1/ca")
    return answer.decode("ascii", "replace")


def _trusting(authority: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority)
    return context


def _asked(host: str, port: int, context: ssl.SSLContext, path: str, body: Mapping[str, object]) -> Enrolment:
    status, answer = _call(host, port, context, "POST", path, json.dumps(body).encode())
    try:
        found = json.loads(answer)
        if status == 200:
            return Enrolment(str(found["certificate"]), str(found["authority"]), str(found["fleet"]))
        refusal = str(found["error"]["message"])
    except (ValueError, KeyError, TypeError):
        raise PkiError(f"https://{host}:{port} answered {status} with what is no answer") from None
    raise PkiError(f"the fleet's server refused ({status}): {refusal}")


def _call(
    host: str, port: int, context: ssl.SSLContext, method: str, path: str, body: bytes | None
) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=context)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read(LARGEST_ANSWER + 1)
        if len(answer) > LARGEST_ANSWER:
            raise PkiError(f"https://{host}:{port} answered with more than {LARGEST_ANSWER} bytes")
        return response.status, answer
    except ssl.SSLCertVerificationError as error:
        raise PkiError(
            f"https://{host}:{port} is not believed: {error.verify_message}; nothing was sent"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise PkiError(f"https://{host}:{port} cannot be reached: {error or type(error).__name__}") from None
    finally:
        connection.close()
