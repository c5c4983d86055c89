"""The fleet's authority in a folder, as `lineside ca init` makes it: signs what the desk has let in.

The names in a certificate are those that its token was made with, never those of the request. A folder
without `ca.key` is a plant's own authority: a person has requests signed elsewhere and brings certificates.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import stat
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DEVICE_DAYS = 90
SKEW = timedelta(minutes=5)
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
URI = re.compile(rf"spiffe://({WORD.pattern})/lineside/([a-z]+)/({WORD.pattern})")
DNS = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*")


class RefusedRequest(ValueError):
    """Something that cannot be signed or used; the message says why and what to do."""


class Authority:
    """An authority's folder, opened. `fleet` is its name."""

    def __init__(self, folder: Path) -> None:
        """Raises RefusedRequest: there is none, or its key is no key or others may read it."""
        self._folder = folder
        try:
            self.certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        except (OSError, ValueError):
            raise RefusedRequest(
                f"there is no authority in {folder}: begin one with `lineside ca init {folder} --fleet NAME`"
            ) from None
        self._key = _read_key(folder / "ca.key") if (folder / "ca.key").exists() else None
        if self._key is not None and self._key.public_key() != self.certificate.public_key():
            raise RefusedRequest(f"{folder / 'ca.key'} is not the key of ca.crt beside it")
        self.fleet = fleet_of(self.certificate)

    @property
    def signs(self) -> bool:
        """Whether its key is here; otherwise a person brings certificates."""
        return self._key is not None

    @property
    def fingerprint(self) -> str:
        """sha256 of its certificate, as tokens hold it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign(
        self,
        request: x509.CertificateSigningRequest,
        kind: str,
        name: str,
        names: Sequence[str],
        at: datetime,
        days: int = DEVICE_DAYS,
    ) -> str:
        """A certificate for the request's key with its chain, PEM. `kind`: device or service.

        Raises:
            RefusedRequest: the key is not here, is not of a kind that is signed, or a name is none.
        """
        public = request.public_key()
        if self._key is None:
            raise RefusedRequest("the authority's key is not here: have the request signed where it is")
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise RefusedRequest("only elliptic curve keys are signed")
        ends = at + timedelta(days=days)
        if ends > self.certificate.not_valid_after_utc:
            raise RefusedRequest("the authority itself ends before the certificate would")
        uri = x509.UniformResourceIdentifier(f"spiffe://{self.fleet}/lineside/{kind}/{word(name)}")
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - SKEW)
            .not_valid_after(ends)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([uri, *(alternative(one) for one in names)]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        line = {"serial": f"{made.serial_number:x}", "identity": uri.value, "ends": ends.isoformat()}
        with (self._folder / "issued.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return made.public_bytes(serialization.Encoding.PEM).decode() + self.pem

    def must_have_signed(self, certificate: x509.Certificate) -> None:
        """Raises RefusedRequest for a certificate that is not this authority's."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            raise RefusedRequest("the certificate is not signed by this fleet's authority") from None


def read_request(text: str) -> x509.CertificateSigningRequest:
    """A certificate request whose signature holds. Raises RefusedRequest."""
    try:
        request = x509.load_pem_x509_csr(text.encode())
        if not request.is_signature_valid:
            raise RefusedRequest("the certificate request is not signed by its own key")
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, RefusedRequest):
            raise
        raise RefusedRequest("this is no certificate request in PEM form") from None
    return request


def key_print(request: x509.CertificateSigningRequest | x509.Certificate) -> str:
    """sha256 of the public key, 64 hex digits: what a person compares."""
    public = request.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public)
    return digest.finalize().hex()


def identity_of(certificate: x509.Certificate) -> tuple[str, str, str]:
    """Fleet, kind and name that a certificate says. Raises RefusedRequest for none or several."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    match = URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None:
        raise RefusedRequest("the certificate does not say who it is for (one spiffe:// name)")
    return match[1], match[2], match[3]


def fleet_of(certificate: x509.Certificate) -> str:
    """The fleet that an authority is of: as its name says; a plant's own by its common name."""
    try:
        return identity_of(certificate)[0]
    except RefusedRequest:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        words = re.sub(r"[^A-Za-z0-9._-]+", "-", str(common[0].value) if common else "").strip("-.")
        return (words or "plant")[:64]


def names_of(certificate: x509.Certificate) -> list[str]:
    """DNS names and addresses in a certificate."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [
        *names.get_values_for_type(x509.DNSName),
        *(str(one) for one in names.get_values_for_type(x509.IPAddress)),
    ]


def word(name: str) -> str:
    """A device's name, if it can stand in a certificate. Raises RefusedRequest."""
    if not WORD.fullmatch(name):
        raise RefusedRequest(
            f"'{name[:60]}' is no name: 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first"
        )
    return name


def alternative(name: str) -> x509.GeneralName:
    """A host name or address as it stands in a certificate. Raises RefusedRequest."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not DNS.fullmatch(name):
        raise RefusedRequest(f"'{name[:60]}' is neither a host name nor an address")
    return x509.DNSName(name)


def write_private(path: Path, content: bytes) -> None:
    """A file for its owner alone, never with another mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise RefusedRequest(f"others than its owner may read the key {path}: chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, TypeError, UnsupportedAlgorithm):
        raise RefusedRequest(f"the key {path} cannot be read") from None
    except ValueError as error:
        if isinstance(error, RefusedRequest):
            raise
        raise RefusedRequest(f"{path} is no private key in PEM form without a passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise RefusedRequest(f"{path} is not an elliptic curve key")
    return key


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=False,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
