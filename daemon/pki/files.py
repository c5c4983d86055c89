"""Keys and certificates as files: written whole or not at all, secrets for their owner's eyes alone.

Knows PEM and file modes; does not know who signs what.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

PRIVATE = 0o600
PUBLIC = 0o644


class PkiError(Exception):
    """Something about keys or certificates that a person must mend; the message says what to do."""


def new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Makes a P-256 key as a file of mode 0600; it never exists with another mode.

    Raises:
        PkiError: there is a file already; a key is never overwritten.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    words = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    except FileExistsError:
        raise PkiError(f"{path} exists already, and a key is never overwritten: move it away first") from None
    with os.fdopen(handle, "wb") as file:
        file.write(words)
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)
    return key


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private key.

    Raises:
        PkiError: it is not there, is no EC key, or others may read it. Its content is never quoted.
    """
    try:
        mode = path.stat().st_mode
        words = path.read_bytes()
    except OSError as error:
        raise PkiError(f"the key {path} cannot be read: {error.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PkiError(f"others than its owner may read the key {path}: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(words, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PkiError(f"{path} is no private key in PEM form without a passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{path} is not an elliptic curve key")
    return key


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, in its order; at least one. Raises PkiError."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise PkiError(f"the certificate {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise PkiError(f"{path} holds no certificate in PEM form") from None


def certificates_in(text: str) -> list[x509.Certificate]:
    """The certificates of a PEM text, at least one. Raises PkiError."""
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise PkiError("what came is no certificate in PEM form") from None


def request_in(text: str | bytes) -> x509.CertificateSigningRequest:
    """A certificate request whose signature holds: whoever made it has the key. Raises PkiError."""
    try:
        request = x509.load_pem_x509_csr(text.encode() if isinstance(text, str) else text)
    except (ValueError, UnsupportedAlgorithm):
        raise PkiError("this is no certificate request in PEM form") from None
    if not request.is_signature_valid:
        raise PkiError("the certificate request is not signed by its own key")
    return request


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as PEM, in order."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def fingerprint(certificate: x509.Certificate) -> str:
    """sha256 over the whole certificate, 64 hex digits."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def replace(path: Path, content: bytes, mode: int = PUBLIC) -> None:
    """Puts `content` at `path` in one step that survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
