"""What a bundle says about itself: `manifest.json` as frozen values, checked.

Knows the manifest's keys and what makes a file name safe; does not know files on disk, archives or runtimes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lineside.engines.errors import DamagedBundle, IncompatibleBundle

FORMAT = 1
MANIFEST_NAME = "manifest.json"
REQUIRED_FILES = ("config.json", "tokenizer.json", "chat_template.jinja", "preprocessor_config.json")
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 4096
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")


@dataclass(frozen=True, slots=True)
class OnnxBuild:
    """The graphs of the ONNX Runtime build; `vision` is None for a text-only model.

    `states`: shapes of the decoder's past by input name, where the builder wrote them down.
    """

    vision: str | None
    decoder: str
    dialect: str
    recurrent_layout: str
    states: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signature:
    """Who vouches for the manifest: the Ed25519 key's id, and its signature over `Manifest.canonical`."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class SelfTestEntry:
    """The file with self-test vectors, and how far logits may be off (relative to the largest expected)."""

    file: str
    tolerance: float


@dataclass(frozen=True, slots=True)
class ScopeEntry:
    """One question that a narrow engine was trained for. `id` names its familiarity statistics.

    `values`: allowed answers of a choice, or of a count (as text); `pattern`: of a text, where it is named.
    """

    id: str
    instruction: str
    kind: str
    values: tuple[str, ...]
    pattern: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """`files`: name → sha256 hex; `onnx`: None where there is no such build.

    `canonical`: the bytes that are signed, the manifest without its signature; `digest`: their sha256, so
    that signing an engine does not make another of it.
    """

    name: str
    version: str
    licence: str
    precision: str
    source: Mapping[str, object]
    context_tokens: int
    is_demo: bool
    files: Mapping[str, str]
    onnx: OnnxBuild | None
    runtimes: tuple[str, ...]
    scope: tuple[ScopeEntry, ...] | None
    digest: str
    canonical: bytes = field(repr=False)
    signature: Signature | None = None
    selftest: SelfTestEntry | None = None
    card: Mapping[str, object] = field(default_factory=dict)


def check_name(name: object) -> str:
    """A file name of a bundle: relative, inside the folder, of plain characters.

    Raises:
        DamagedBundle: anything else.
    """
    if not isinstance(name, str) or not name or len(name) > 255:
        raise DamagedBundle(f"{name!r} is no file name")
    parts = name.split("/")
    if not all(_SAFE_PART.fullmatch(part) for part in parts) or str(PurePosixPath(name)) != name:
        raise DamagedBundle(f"the file name {name!r} leaves the bundle or has odd characters")
    return name


def written(fields: Mapping[str, object]) -> bytes:
    """A manifest's one way to be written: JSON, keys in order, two spaces, UTF-8.

    Raises:
        DamagedBundle: fields that no file can hold.
    """
    try:
        return (json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DamagedBundle(f"the manifest cannot be written: {error}") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Two readers might believe different ones, and a signature would cover both.
        raise ValueError("a key comes twice")
    return found


def read_manifest(data: bytes) -> Manifest:
    """Parses and checks `manifest.json`.

    Raises:
        DamagedBundle: not a manifest, or one with missing or unsafe entries.
        IncompatibleBundle: of a higher format version than this software reads.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise DamagedBundle("manifest.json is larger than 4 MiB")
    try:
        raw = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DamagedBundle(f"manifest.json is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise DamagedBundle("manifest.json is not an object")
    version = raw.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DamagedBundle("manifest.json has no format version")
    if version > FORMAT:
        raise IncompatibleBundle(
            f"the bundle is of format {version}, this software reads up to {FORMAT}: update the software"
        )
    files = _files(raw.get("files"))
    builds = raw.get("builds")
    if not isinstance(builds, dict) or not builds:
        raise DamagedBundle("manifest.json names no builds")
    context = raw.get("context_tokens")
    if not isinstance(context, int) or isinstance(context, bool) or context < 1:
        raise DamagedBundle("manifest.json has no context_tokens")
    canonical = written({key: value for key, value in raw.items() if key != "signature"})
    return Manifest(
        name=_text(raw, "name"),
        version=_text(raw, "version"),
        licence=_text(raw, "licence"),
        precision=_text(raw, "precision"),
        source=_object(raw, "source"),
        context_tokens=context,
        is_demo=raw.get("is_demo") is True,
        files=files,
        onnx=_onnx(builds["onnx"], files) if "onnx" in builds else None,
        runtimes=tuple(sorted(str(build) for build in builds)),
        scope=_scope(raw.get("scope")),
        digest=hashlib.sha256(canonical).hexdigest(),
        canonical=canonical,
        signature=_signature(raw.get("signature")),
        selftest=_selftest(raw.get("selftest"), files),
        card=_object(raw, "card"),
    )


def _text(raw: Mapping[str, object], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        raise DamagedBundle(f"manifest.json has no {key}")
    return value


def _object(raw: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = raw.get(key, {})
    if not isinstance(value, dict):
        raise DamagedBundle(f"manifest.json: {key} is not an object")
    return value


def _files(raw: object) -> Mapping[str, str]:
    if not isinstance(raw, dict):
        raise DamagedBundle("manifest.json names no files")
    if len(raw) > MAX_FILES:
        raise DamagedBundle(f"manifest.json names more than {MAX_FILES} files")
    for name, digest in raw.items():
        if check_name(name) == MANIFEST_NAME:
            raise DamagedBundle("manifest.json cannot name itself")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise DamagedBundle(f"manifest.json has no sha256 for {name}")
    missing = [name for name in REQUIRED_FILES if name not in raw]
    if missing:
        raise DamagedBundle(f"the bundle has no {missing[0]}")
    return raw


def _onnx(raw: object, files: Mapping[str, str]) -> OnnxBuild:
    if not isinstance(raw, dict):
        raise DamagedBundle("manifest.json: builds.onnx is not an object")
    vision = raw.get("vision")
    decoder = _text(raw, "decoder")
    for name in (decoder, *([vision] if vision is not None else [])):
        if name not in files:
            raise DamagedBundle(f"manifest.json: builds.onnx names {name!r}, which is not among the files")
    inputs = raw.get("inputs")
    shapes = inputs.get("decoder") if isinstance(inputs, dict) else None
    states = {
        name: tuple(shape)
        for name, shape in (shapes.items() if isinstance(shapes, dict) else ())
        if name.startswith("past.") and isinstance(shape, list)
    }
    return OnnxBuild(vision, decoder, _text(raw, "dialect"), str(raw.get("recurrent_layout", "KV")), states)


def _signature(raw: object) -> Signature | None:
    if raw is None:
        return None
    if not isinstance(raw, dict) or raw.get("algorithm") != "ed25519":
        raise DamagedBundle("manifest.json: the signature is not an Ed25519 one")
    try:
        value = base64.b64decode(_text(raw, "value"), validate=True)
    except ValueError as error:
        raise DamagedBundle("manifest.json: the signature is not base64") from error
    return Signature(_text(raw, "key"), value)


def _selftest(raw: object, files: Mapping[str, str]) -> SelfTestEntry | None:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise DamagedBundle("manifest.json: selftest is not an object")
    name, tolerance = _text(raw, "file"), raw.get("tolerance")
    if name not in files:
        raise DamagedBundle(f"manifest.json: selftest names {name!r}, which is not among the files")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
        raise DamagedBundle("manifest.json: selftest has no tolerance between 0 and 1")
    return SelfTestEntry(name, float(tolerance))


def _scope(raw: object) -> tuple[ScopeEntry, ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, list):
        raise DamagedBundle("manifest.json: scope is not a list")
    entries: list[ScopeEntry] = []
    for at, entry in enumerate(raw):
        if not isinstance(entry, dict) or not isinstance(entry.get("values", []), list):
            raise DamagedBundle("manifest.json: scope is not a list of questions")
        pattern = entry.get("pattern")
        entries.append(
            ScopeEntry(
                id=str(entry.get("id", at)),
                instruction=_text(entry, "instruction"),
                kind=_text(entry, "kind"),
                values=tuple(str(value) for value in entry.get("values", [])),
                pattern=pattern if isinstance(pattern, str) else None,
            )
        )
    return tuple(entries)
