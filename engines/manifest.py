"""What a bundle says about itself: `manifest.json` as frozen values, checked.

Knows the manifest's keys and what makes a file name safe; does not know files on disk, archives or runtimes.
"""

from __future__ import annotations

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
    """The graphs of the ONNX Runtime build; `vision` is None for a text-only model."""

    vision: str | None
    decoder: str
    dialect: str
    recurrent_layout: str


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
    """`files`: name → sha256 hex; `onnx`: None where there is no such build; `digest`: of the manifest."""

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


def read_manifest(data: bytes) -> Manifest:
    """Parses and checks `manifest.json`.

    Raises:
        DamagedBundle: not a manifest, or one with missing or unsafe entries.
        IncompatibleBundle: of a higher format version than this software reads.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise DamagedBundle("manifest.json is larger than 4 MiB")
    try:
        raw = json.loads(data)
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
        digest=hashlib.sha256(data).hexdigest(),
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
    return OnnxBuild(vision, decoder, _text(raw, "dialect"), str(raw.get("recurrent_layout", "KV")))


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
