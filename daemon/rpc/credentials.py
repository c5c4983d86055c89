"""The server's certificate, key and client authority, read again when their files change. No restart needed.

New connections use what the files hold now; those that are open go on until their age ends them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc
import structlog
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lineside.daemon.pki.files import PkiError, read_certificates
from lineside.daemon.rpc.options import TlsFiles

Stamp = tuple[tuple[int, int, int], ...]
_log = structlog.get_logger(__name__)


class CredentialsUnusable(PkiError):
    """The files do not make credentials; the message says which, and what to do."""


class ServerCredentials:
    """Reads the files at every handshake when they have changed. Thread-safe."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None

    def open(self) -> grpc.ServerCredentials:
        """Credentials for `add_secure_port`. Raises CredentialsUnusable."""
        stamp = self._look()
        first = self._read()
        self._stamp = stamp
        # The stubs do not know that the answer may be None: as before.
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._changed)
        return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=True)

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC at each handshake; None: as before."""
        with self._lock:
            try:
                stamp = self._look()
                if stamp == self._stamp:
                    return None
                fresh = self._read()
            except CredentialsUnusable as error:
                # Half of a change, or a bad one: the credentials in use stay, and say so once per look.
                _log.error("credentials_kept", because=str(error))
                return None
            self._stamp = stamp
        _log.info("credentials_read", certificate=str(self._files.certificate))
        return fresh

    def _look(self) -> Stamp:
        found = []
        for path in (self._files.certificate, self._files.key, self._files.client_ca):
            try:
                seen = path.stat()
            except OSError as error:
                raise CredentialsUnusable(
                    f"{path} cannot be read ({error.strerror}): `lineside enroll` brings certificates, or "
                    "name others under `grpc.tls`"
                ) from None
            found.append((seen.st_mtime_ns, seen.st_ino, seen.st_size))
        return tuple(found)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        try:
            leaf = read_certificates(files.certificate)[0]
            read_certificates(files.client_ca)
            key = files.key.read_bytes()
            private = load_pem_private_key(key, None)
        except PkiError as error:
            raise CredentialsUnusable(str(error)) from None
        except (OSError, ValueError, TypeError):
            raise CredentialsUnusable(f"{files.key} is no private key that can be read") from None
        if private.public_key() != leaf.public_key():
            raise CredentialsUnusable(f"{files.key} does not fit {files.certificate}")
        return _configuration(key, files.certificate, files.client_ca)


def _configuration(key: bytes, certificate: Path, client_ca: Path) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(key, certificate.read_bytes())], root_certificates=client_ca.read_bytes()
    )
