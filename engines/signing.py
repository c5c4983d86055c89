"""Who vouches for an engine: Ed25519 keys as files, signed manifests, and what this machine insists on.

A signature covers the manifest, and the manifest covers every file by its hash. Knows keys and manifests;
does not know archives, graphs or where a product keeps its settings.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lineside.engines.bundle import amend_bundle
from lineside.engines.durable import replace_text, sync_folder
from lineside.engines.errors import EngineError, UntrustedBundle
from lineside.engines.manifest import Manifest

PRIVATE_SUFFIX, PUBLIC_SUFFIX = ".key", ".pub"
TRUST_VARIABLE = "LINESIDE_ENGINE_TRUST"
REQUIRE_VARIABLE = "LINESIDE_ENGINE_REQUIRE_SIGNATURE"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class BadKey(EngineError):
    """A key file that cannot be used, or must not be because of who else may read or write it."""


class Standing(StrEnum):
    """What is known of a bundle's origin. UNKNOWN_KEY: signed, by somebody whom nobody here vouches for."""

    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown key"
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh pair of key files. Only `public` is for others."""

    private: Path
    public: Path
    id: str


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Which public keys (`*.pub` in `folder`) are believed, and whether a bundle needs one of them.

    The keys are read each time, so that a key that was taken away is no longer believed.
    """

    folder: Path | None = None
    required: bool = False

    def standing(self, manifest: Manifest) -> Standing:
        """How a manifest stands with the trusted keys.

        Raises:
            UntrustedBundle: it was altered since a trusted key signed it, or less than the policy asks for.
            BadKey: the trust folder or a key in it cannot be used.
        """
        signature = manifest.signature
        if signature is None:
            if self.required:
                raise UntrustedBundle(
                    f"{manifest.name} is not signed, and this machine takes signed engines only: ask whoever "
                    "built it to sign it (`lineside engine build --sign KEY`)"
                )
            return Standing.UNSIGNED
        key = trusted_keys(self.folder).get(signature.key) if self.folder is not None else None
        if key is None:
            if self.required:
                raise UntrustedBundle(
                    f"{manifest.name} is signed by the key {signature.key}, which is not trusted here: if "
                    f"you know whose it is, put its {PUBLIC_SUFFIX} file into {self.folder or 'a folder'}"
                )
            return Standing.UNKNOWN_KEY
        try:
            key.verify(signature.value, manifest.canonical)
        except InvalidSignature as error:
            raise UntrustedBundle(
                f"the manifest of {manifest.name} was altered after the key {signature.key} signed it: get "
                "the bundle anew from its source"
            ) from error
        return Standing.TRUSTED

    def admit(self, manifest: Manifest) -> None:
        """Raises as `standing` does; for `open_bundle` and `verify_bundle`."""
        self.standing(manifest)


def trust_policy(folder: Path | None, require_signature: bool | None = None) -> TrustPolicy:
    """The policy for a trust folder: signatures are required where there is one, unless said otherwise."""
    return TrustPolicy(folder, folder is not None if require_signature is None else require_signature)


def policy_of(environment: Mapping[str, str]) -> TrustPolicy:
    """The machine's policy as its environment names it; without it every bundle is taken.

    Raises:
        BadKey: LINESIDE_ENGINE_REQUIRE_SIGNATURE is neither 0 nor 1.
    """
    named, wanted = environment.get(TRUST_VARIABLE), environment.get(REQUIRE_VARIABLE, "")
    if wanted not in ("", "0", "1"):
        raise BadKey(f"{REQUIRE_VARIABLE} is {wanted!r}: it must be 0 or 1")
    return trust_policy(Path(named) if named else None, wanted == "1" if wanted else None)


def key_id(key: Ed25519PublicKey) -> str:
    """A key's id: the first 32 hex digits of the sha256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def new_key(folder: Path, name: str = "engine") -> NewKey:
    """Makes a key pair as `NAME.key` (mode 600) and `NAME.pub` (mode 644) in `folder`.

    Raises:
        BadKey: the name is no file name, or there is such a key already.
    """
    if not _NAME.fullmatch(name):
        raise BadKey(f"{name!r} is no name for a key: letters, digits and . _ - only")
    private, public = folder / f"{name}{PRIVATE_SUFFIX}", folder / f"{name}{PUBLIC_SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if public.exists():
        raise BadKey(f"{public} exists already, and a key is never overwritten: choose another name")
    key = Ed25519PrivateKey.generate()
    try:
        # Made with its mode, not given it afterwards: there is no moment at which others may read it.
        handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BadKey(
            f"{private} exists already, and a key is never overwritten: choose another name"
        ) from error
    with os.fdopen(handle, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        file.flush()
        os.fsync(file.fileno())
    words = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    replace_text(public, words)
    sync_folder(folder)
    return NewKey(private, public, key_id(key.public_key()))


def private_key(path: Path) -> Ed25519PrivateKey:
    """A private key from its file.

    Raises:
        BadKey: it is no Ed25519 key, or others than its owner may read it.
    """
    words = _read(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadKey(
            f"others may read or change the private key {path}: `chmod 600 {path}`, or make a new one"
        )
    try:
        key = serialization.load_pem_private_key(words, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{path} is no private key in PEM form: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path} is not an Ed25519 key: make one with `lineside engine keys new`")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """A public key from its file.

    Raises:
        BadKey: it is no Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{path} is no public key in PEM form: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadKey(f"{path} is not an Ed25519 key: make one with `lineside engine keys new`")
    return key


def trusted_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    """The public keys in a trust folder, by id.

    Raises:
        BadKey: there is no such folder, anybody may write to it, or a file in it is no key.
    """
    if not folder.is_dir():
        raise BadKey(f"the trust folder {folder} does not exist")
    for path in (folder, *folder.glob(f"*{PUBLIC_SUFFIX}")):
        if path.stat().st_mode & stat.S_IWOTH:
            raise BadKey(f"anybody may write to {path}, so it proves nothing: `chmod o-w {path}`")
    keys = [public_key(path) for path in sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))]
    return {key_id(key): key for key in keys}


def sign_bundle(path: Path, key: Path) -> str:
    """Signs a finished bundle, folder or archive, in one step; gives the id of the key.

    The bundle is verified first; its digest stays, a signature that was there is replaced.

    Raises:
        BadKey: the private key in the file `key` cannot be used.
        DamagedBundle, IncompatibleBundle: the bundle does not verify.
    """
    signer = private_key(key)
    name = key_id(signer.public_key())

    def signed(manifest: Manifest) -> Mapping[str, object]:
        value = base64.b64encode(signer.sign(manifest.canonical)).decode()
        return {"signature": {"algorithm": "ed25519", "key": name, "value": value}}

    amend_bundle(path, signed)
    return name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadKey(f"the key {path} cannot be read: {error.strerror or error}") from error
