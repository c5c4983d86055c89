"""Do certificates last, fit their keys, and do secrets stay secret?"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lineside.daemon.admission import rpc_options
from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.daemon.pki.device import DeviceKeys, due
from lineside.daemon.pki.files import PkiError
from lineside.daemon.rpc.options import TlsFiles

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
        served = rpc_options(subject.known).tls
        if served is not None:
            found += [self._certificate(file, now) for file in (served.certificate, served.client_ca)]
            found += [self._secret(served.key), self._pair(served.certificate, served.key)]
            found += self._renewal(subject)
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

    def _renewal(self, subject: Subject) -> Iterator[Finding]:
        """Whether what `lineside enroll` brought is renewed as it should be."""
        keys = DeviceKeys.under(subject.known.device.data_dir, subject.known.device.id)
        if rpc_options(subject.known).tls != TlsFiles(keys.certificate, keys.key, keys.authority):
            return
        step = "look for certificate_not_renewed in the daemon's log, or enrol again with a new token"
        try:
            fleet, life = keys.fleet(), keys.lifetime()
        except PkiError as error:
            yield Finding(self.name, Level.FAILED, str(error), step)
            return
        if life is None:
            message = "gRPC is to serve with TLS, and this device belongs to no fleet"
            yield Finding(self.name, Level.FAILED, message, "lineside enroll --fleet URL --token-file FILE")
        elif fleet is None or not fleet.url:
            message = "the certificate was brought by hand: nobody renews it"
            yield Finding(self.name, Level.WARNING, message, f"sign it anew before {life[1]:%Y-%m-%d}")
        elif due(life, subject.clock.now()):
            message = f"the certificate should have been renewed by {fleet.url} by now"
            yield Finding(self.name, Level.WARNING, message, step)
        else:
            yield Finding(self.name, Level.OK, f"the certificate is renewed by {fleet.url}")

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
