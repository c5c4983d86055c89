"""The device's own key, request and certificate, in one folder under its state. Knows no network.

device.key      made at the first start, mode 0600, never leaves the device
device.csr      a request for it, for whoever signs by hand
device.crt      what an authority made of it, then the authority's own; brought by `lineside enroll`
fleet-ca.crt    the authority: whose certificates may call this device
fleet.json      where the fleet's server is, for renewal
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lineside.daemon.pki import files
from lineside.daemon.pki.files import PkiError

FOLDER = "pki"


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet a device belongs to. `url`: of its server; empty when certificates are brought by hand."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the fleet's server answers: the device's certificate with its chain, and the authority's own."""

    certificate: str
    authority: str
    fleet: str


class DeviceKeys:
    """The folder `pki` of a device. Constructing it does no I/O."""

    def __init__(self, folder: Path, device: str) -> None:
        self._folder = folder
        self._device = device
        self.key = folder / "device.key"
        self.request = folder / "device.csr"
        self.certificate = folder / "device.crt"
        self.authority = folder / "fleet-ca.crt"
        self._fleet = folder / "fleet.json"

    @classmethod
    def under(cls, data_dir: Path, device: str) -> DeviceKeys:
        """The keys of the device whose state is in `data_dir`."""
        return cls(data_dir / FOLDER, device)

    def ensure(self) -> bool:
        """Makes key and request where there are none; True when they were made now.

        Raises:
            PkiError: there is a key that cannot be used.
            OSError: the folder cannot be written.
        """
        made = not self.key.exists()
        key = files.new_key(self.key) if made else files.read_key(self.key)
        if made or not self.request.exists():
            files.replace(self.request, self._request(key))
        return made

    def request_text(self) -> str:
        """A fresh certificate request for the key. Raises PkiError."""
        return self._request(files.read_key(self.key)).decode()

    def fingerprint(self) -> str:
        """sha256 of the public key in groups of four hex digits, for people to compare. Raises PkiError."""
        public = files.read_key(self.key).public_key()
        words = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digits = hashlib.sha256(words).hexdigest()
        return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))

    def install(self, enrolment: Enrolment, url: str, now: datetime) -> datetime:
        """Takes what the fleet's server gave; gives the moment at which it ends.

        Raises:
            PkiError: it is not for this device's key, not signed by the authority, or does not hold now.
        """
        chain = files.certificates_in(enrolment.certificate)
        authority = files.certificates_in(enrolment.authority)
        leaf = chain[0]
        if leaf.public_key() != files.read_key(self.key).public_key():
            raise PkiError("the certificate that came is not for this device's key")
        try:
            leaf.verify_directly_issued_by(authority[0])
        except (InvalidSignature, ValueError, TypeError) as error:
            raise PkiError("the certificate that came is not signed by the fleet's authority") from error
        if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
            raise PkiError(
                f"the certificate that came holds from {leaf.not_valid_before_utc} to "
                f"{leaf.not_valid_after_utc}; here it is {now:%Y-%m-%d %H:%M} UTC: set the clock"
            )
        files.replace(self.authority, files.pem(*authority))
        files.replace(self._fleet, json.dumps({"fleet": enrolment.fleet, "url": url}).encode())
        files.replace(self.certificate, files.pem(*chain))
        return leaf.not_valid_after_utc

    def fleet(self) -> Fleet | None:
        """The fleet it was enrolled in; None before. Raises PkiError when the note cannot be read."""
        try:
            found = json.loads(self._fleet.read_bytes())
            return Fleet(str(found["fleet"]), str(found["url"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PkiError(f"{self._fleet} cannot be read ({type(error).__name__}): enrol again") from None

    def lifetime(self) -> tuple[datetime, datetime] | None:
        """From when to when the certificate holds; None when there is none. Raises PkiError."""
        if not self.certificate.exists():
            return None
        leaf = files.read_certificates(self.certificate)[0]
        return leaf.not_valid_before_utc, leaf.not_valid_after_utc

    def _request(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._device)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def due(lifetime: tuple[datetime, datetime], now: datetime) -> bool:
    """Whether it is time to renew: less than a third of the certificate's life is left."""
    begins, ends = lifetime
    return ends - now < max((ends - begins) / 3, timedelta(0))
