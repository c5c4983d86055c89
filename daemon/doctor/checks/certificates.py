"""Do certificates last, fit their keys, and do secrets stay secret?"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lineside.daemon.doctor.base import Finding, Level, Subject

SOON = timedelta(days=30)


class CertificatesCheck:
    """The files that the settings name: expiry, the pair of certificate and key, and who may read secrets."""

    name = "certificates"
    needs_settings = True

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding a file; skipped where none is named."""
        mqtt = subject.known.mqtt
        tls = mqtt.tls if mqtt is not None else None
        now = subject.clock.now()
        found = []
        if mqtt is not None and mqtt.password_file is not None:
            found.append(self._secret(mqtt.password_file))
        if tls is not None:
            found += [
                self._certificate(file, now) for file in (tls.ca_file, tls.cert_file) if file is not None
            ]
            if tls.cert_file is not None and tls.key_file is not None:
                found += [self._secret(tls.key_file), self._pair(tls.cert_file, tls.key_file)]
        if not found:
            yield Finding(self.name, Level.SKIPPED, "the settings name no certificates or secrets")
        yield from found

    def _certificate(self, file: Path, now: datetime) -> Finding:
        try:
            ends = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(file.read_bytes()))
        except (OSError, ValueError) as error:
            return Finding(self.name, Level.FAILED, f"{file} cannot be read: {error}", "put a PEM file there")
        left = ends - now
        step = "have it renewed, put it in place and restart the daemon"
        if left <= timedelta(0):
            return Finding(self.name, Level.FAILED, f"{file} expired on {ends:%Y-%m-%d}", step)
        if left < SOON:
            return Finding(self.name, Level.WARNING, f"{file} expires in {left.days} days", step)
        return Finding(self.name, Level.OK, f"{file} lasts until {ends:%Y-%m-%d}")

    def _secret(self, file: Path) -> Finding:
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            with file.open("rb"):
                pass
        except OSError as error:
            step = "put it there, readable by the daemon's user alone"
            return Finding(self.name, Level.FAILED, f"{file} cannot be read: {error.strerror}", step)
        if mode & stat.S_IRWXO:
            return Finding(
                self.name, Level.WARNING, f"{file} may be read by everybody ({mode:04o})", f"chmod 600 {file}"
            )
        return Finding(self.name, Level.OK, f"{file} is kept from others ({mode:04o})")

    def _pair(self, certificate: Path, key: Path) -> Finding:
        try:
            public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
            private = load_pem_private_key(key.read_bytes(), None)
        except (OSError, ValueError, TypeError):
            # Its content is a secret, and errors of parsers may quote it.
            step = "put a PEM key without a passphrase there"
            return Finding(self.name, Level.FAILED, f"{key} is no private key that can be read", step)
        if private.public_key() != public:
            step = "put the key there that the certificate was made for"
            return Finding(self.name, Level.FAILED, f"{key} does not fit {certificate}", step)
        return Finding(self.name, Level.OK, f"{key} fits {certificate}")
