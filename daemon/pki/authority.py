"""A fleet's certificate authority in one folder: signs devices, people and programs, and gives out tokens.

    ca.key        mode 0600; whoever has it may let anybody in
    ca.crt        for everybody
    issued.jsonl  one line a certificate
    tokens/       one file a token that was given out, by its hash; the token itself is kept nowhere

The names in a certificate are the authority's decision, never those of the request. Knows no network.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lineside.daemon.pki import files
from lineside.daemon.pki.device import Enrolment
from lineside.daemon.pki.files import PkiError
from lineside.daemon.pki.identity import DEVICE, SERVICE, BadIdentity, Identity, identity_of

AUTHORITY_DAYS = 3650
DEVICE_DAYS = 90
PERSON_DAYS = 365
SKEW = timedelta(minutes=5)
"""A certificate holds from a little before it is made: the clock of who checks it may be behind."""
_DNS = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*")


class TokenRefused(PkiError):
    """A token that lets nobody in (any more): unknown, used, over, or for another device."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token stands for: a device by name, and further names and addresses it may serve under."""

    device: str
    names: tuple[str, ...]
    ends: datetime
    used_by: str | None
    """sha256 of the public key it was used for; None before."""


class Authority:
    """An authority's folder. `open` one, or `create` it."""

    def __init__(self, folder: Path, certificate: x509.Certificate) -> None:
        self._folder = folder
        self.certificate = certificate
        self.fleet = identity_of(certificate).fleet

    @classmethod
    def create(cls, folder: Path, fleet: str, now: datetime) -> Authority:
        """Begins an authority. Raises PkiError: there is one already, or the fleet's name is none."""
        try:
            identity = Identity(fleet, SERVICE, "authority")
        except BadIdentity as error:
            raise PkiError(str(error)) from None
        key = files.new_key(folder / "ca.key")
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Lineside fleet {fleet}")])
        builder = (
            _begun(name, name, key.public_key(), now, timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity.uri)]), critical=False
            )
        )
        certificate = builder.sign(key, hashes.SHA256())
        files.replace(folder / "ca.crt", files.pem(certificate))
        return cls(folder, certificate)

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """An authority that is there. Raises PkiError."""
        if not (folder / "ca.crt").exists():
            raise PkiError(f"there is no authority in {folder}: begin one with `lineside ca init`")
        try:
            return cls(folder, files.read_certificates(folder / "ca.crt")[0])
        except BadIdentity as error:
            raise PkiError(f"{folder / 'ca.crt'} is not an authority of this software: {error}") from None

    @property
    def fingerprint(self) -> str:
        """sha256 of its certificate: what a device is told beforehand, so that it enrols nowhere else."""
        return files.fingerprint(self.certificate)

    def sign(
        self,
        request: x509.CertificateSigningRequest,
        identity: Identity,
        now: datetime,
        *,
        names: Sequence[str] = (),
        days: int | None = None,
    ) -> x509.Certificate:
        """A certificate for the request's key. `names`: DNS names and addresses it may serve under.

        Raises:
            PkiError: a name that is none, a lifetime beyond the authority's own, or a weak key.
        """
        public = request.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise PkiError("only elliptic curve keys are signed")
        serves = identity.kind in {DEVICE, SERVICE}
        life = timedelta(days=days if days is not None else DEVICE_DAYS if serves else PERSON_DAYS)
        if life <= timedelta(0) or now + life > self.certificate.not_valid_after_utc:
            raise PkiError(f"a certificate of {life.days} days would not end between now and the authority")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)])
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if serves else [])]
        alternative = [x509.UniformResourceIdentifier(identity.uri), *(_name(one) for one in names)]
        key = files.read_key(self._folder / "ca.key")
        builder = (
            _begun(subject, self.certificate.subject, public, now, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
            )
        )
        certificate = builder.sign(key, hashes.SHA256())
        self._note(certificate, identity)
        return certificate

    def token(self, device: str, now: datetime, *, names: Sequence[str] = (), hours: int = 24) -> str:
        """A token that lets one device in, once. It holds the fingerprint, so that nothing else is told.

        Raises:
            PkiError: the device's name, or one of `names`, is none.
        """
        try:
            Identity(self.fleet, DEVICE, device)
        except BadIdentity as error:
            raise PkiError(str(error)) from None
        for name in names:
            _name(name)
        secret = secrets.token_hex(16)
        ends = now + timedelta(hours=hours)
        ticket = {"device": device, "names": list(names), "ends": ends.isoformat(), "used_by": None}
        files.replace(self._ticket(secret), json.dumps(ticket).encode(), files.PRIVATE)
        return f"{self.fingerprint}.{secret}"

    def enrol(self, secret: str, device: str, request_text: str, now: datetime) -> Enrolment:
        """Lets a device in by a token's secret part. The same key may ask again with it: an answer gets lost.

        Raises:
            TokenRefused: the token lets nobody in, or another device.
            PkiError: the request is none.
        """
        request = files.request_in(request_text)
        key = _key_hash(request.public_key())
        with self._alone():
            ticket = self._read_ticket(secret)
            if ticket.device != device:
                raise TokenRefused("the token is for another device")
            if ticket.used_by not in {None, key}:
                raise TokenRefused("the token was used already: make a new one with `lineside ca token`")
            if now > ticket.ends:
                raise TokenRefused(f"the token ended at {ticket.ends:%Y-%m-%d %H:%M} UTC: make a new one")
            used = {
                "device": device,
                "names": list(ticket.names),
                "ends": ticket.ends.isoformat(),
                "used_by": key,
            }
            # Noted before the certificate exists: a crash in between costs a token, and lets nobody in twice.
            files.replace(self._ticket(secret), json.dumps(used).encode(), files.PRIVATE)
        return self._enrolment(request, device, ticket.names, now)

    def renew(self, current: x509.Certificate, request_text: str, now: datetime) -> Enrolment:
        """A new certificate for a device that has shown its present one (the connection proved its key).

        Raises:
            PkiError: it is not a device's, not ours, over, or the request is for another key.
        """
        request = files.request_in(request_text)
        try:
            current.verify_directly_issued_by(self.certificate)
            identity = identity_of(current)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise PkiError("the present certificate is not one of this fleet") from error
        if identity.kind != DEVICE or identity.fleet != self.fleet:
            raise PkiError("only devices of this fleet renew here")
        if not current.not_valid_before_utc <= now < current.not_valid_after_utc:
            raise PkiError("the present certificate is over: enrol again with a new token")
        if request.public_key() != current.public_key():
            raise PkiError("the request is for another key than the present certificate")
        return self._enrolment(request, identity.name, _names_of(current), now)

    def _enrolment(
        self, request: x509.CertificateSigningRequest, device: str, names: Sequence[str], now: datetime
    ) -> Enrolment:
        names = list(dict.fromkeys((device, *names)))
        leaf = self.sign(request, Identity(self.fleet, DEVICE, device), now, names=names)
        return Enrolment(
            files.pem(leaf, self.certificate).decode(), files.pem(self.certificate).decode(), self.fleet
        )

    def _note(self, certificate: x509.Certificate, identity: Identity) -> None:
        line = {
            "serial": f"{certificate.serial_number:x}",
            "identity": identity.uri,
            "ends": certificate.not_valid_after_utc.isoformat(),
        }
        with (self._folder / "issued.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _ticket(self, secret: str) -> Path:
        return self._folder / "tokens" / f"{hashlib.sha256(secret.encode()).hexdigest()}.json"

    def _read_ticket(self, secret: str) -> Ticket:
        try:
            found = json.loads(self._ticket(secret).read_bytes())
        except FileNotFoundError:
            raise TokenRefused("no such token was given out here") from None
        return Ticket(
            found["device"], tuple(found["names"]), datetime.fromisoformat(found["ends"]), found["used_by"]
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two calls with one token at the same moment must not both find it unused."""
        handle = os.open(self._folder / "tokens.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.PRIVATE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not _DNS.fullmatch(text):
        raise PkiError(f"'{text}' is neither a host name nor an address")
    return x509.DNSName(text)


def _names_of(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _key_hash(key: object) -> str:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise PkiError("only elliptic curve keys are signed")
    words = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(words).hexdigest()
