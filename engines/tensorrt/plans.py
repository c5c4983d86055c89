"""Compiled plans as files: a build for one library version and chip, found again, or refused with a reason.

A build is made on the device, so nobody's signature covers it: it lies outside the bundle, under the cache,
by the bundle's digest, with a record of its own hashes, and counts only where nobody else could have
written it. The signed bundle stays as it was shipped. Knows files and records; does not know the library or
a GPU.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lineside.engines.durable import replace_text
from lineside.engines.errors import EngineError
from lineside.engines.tensorrt.library import Runtime
from lineside.engines.tensorrt.weights import Place, described, read_places
from lineside.engines.verification import VerificationRecords, fingerprint

FORMAT = 1
RECORD = "build.json"
DECODER = frozenset({"step", "prefill"})
"""The plans that no engine goes without; a build that was interrupted may lack one."""


class PlanRefused(EngineError):
    """There is no plan that this machine may run; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """What plans run on: the library and its exact version, and the chip (87 for compute capability 8.7)."""

    runtime: Runtime
    version: str
    sm: int

    def __str__(self) -> str:
        return f"{self.runtime} {self.version} on sm_{self.sm}"


@dataclass(frozen=True, slots=True)
class Made:
    """What the plans are of besides the bundle.

    `context`: capacity of the cache; `rows`: side by side in a step; `prefill`: tokens in a call; `pictures`:
    rows of image embeddings in a call. `plugins`: whether our kernels are in it. `rounding`: see `given.py`.
    `recurrent_layout`: of the states, `KV` or `VK`.
    """

    context: int
    rows: int
    prefill: int
    pictures: int
    plugins: bool
    rounding: str
    recurrent_layout: str


@dataclass(frozen=True, slots=True)
class CompiledGraph:
    """One plan. `inputs`, `outputs`: name → {dtype, shape}; `shapes`: least, usual, most of open ones.

    `grid`: rows and columns of patches of a vision tower's picture.
    """

    file: str
    sha256: str
    bytes: int
    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, Any]
    layers: Mapping[str, int]
    kernels: tuple[str, ...]
    seconds: float
    peak_bytes: int
    grid: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Weights to upload, and where each plan input lies among them."""

    file: str
    sha256: str
    bytes: int
    places: Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class Build:
    """All plans of a bundle for one target.

    `graphs`: step, prefill, vision-ROWSxCOLUMNS; `weights`: by part.
    """

    folder: Path
    digest: str
    target: Target
    made: Made
    graphs: Mapping[str, CompiledGraph] = field(default_factory=dict)
    weights: Mapping[str, WeightFile] = field(default_factory=dict)

    def path(self, file: str) -> Path:
        """Where a file that the record names lies."""
        return self.folder / file

    def vision(self, grid: tuple[int, int]) -> CompiledGraph:
        """The tower's plan for pictures of a grid of patches.

        Raises:
            PlanRefused: none was compiled for this size.
        """
        found = self.graphs.get(f"vision-{grid[0]}x{grid[1]}")
        if found is None:
            known = sorted(name.removeprefix("vision-") for name in self.graphs if name.startswith("vision-"))
            raise PlanRefused(
                f"no vision plan was compiled for pictures of {grid[0]}x{grid[1]} patches (there are "
                f"{', '.join(known) or 'none'}): run `lineside engine compile` with --image for this size"
            )
        return found


def builds_root(cache: Path) -> Path:
    """Where builds are kept, beside the unpacked bundles."""
    return cache / "builds"


def build_folder(root: Path, digest: str, target: Target, made: Made) -> Path:
    """The folder of one build; its name says what it is for, its record says it with authority."""
    parts = [target.runtime, target.version, f"sm{target.sm}", f"context{made.context}"]
    if made.rounding != "stored":
        parts.append(made.rounding)
    return root / digest / "-".join(parts)


def weights_folder(root: Path, digest: str, made: Made) -> Path:
    """Where the weights lie: a new library or another chip takes the same."""
    return root / digest / f"weights-{'plugins' if made.plugins else 'plain'}-{made.rounding}"


def write_record(build: Build) -> None:
    """Makes a build count, in one step: files first, then this."""
    fields = {
        "format": FORMAT,
        "digest": build.digest,
        "target": asdict(build.target),
        "made": asdict(build.made),
        "graphs": {name: asdict(one) for name, one in build.graphs.items()},
        "weights": {
            part: {
                "file": one.file,
                "sha256": one.sha256,
                "bytes": one.bytes,
                "places": described(one.places),
            }
            for part, one in build.weights.items()
        },
    }
    replace_text(build.folder / RECORD, json.dumps(fields, indent=1).encode(), 0o600)


def read_record(folder: Path) -> Build:
    """What a build's record says; its files are not looked at.

    Raises:
        PlanRefused: there is none, others may have written it, or it is of another format.
    """
    path = folder / RECORD
    try:
        seen = path.lstat()
        if seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
            raise PlanRefused(
                f"{path} belongs to another user or may be written by others, so the plans beside it prove "
                "nothing: remove the folder and run `lineside engine compile` again"
            )
        raw = json.loads(path.read_bytes())
        if raw.get("format") != FORMAT:
            raise PlanRefused(
                f"the plans in {folder.name} are of another version of this software: run `lineside engine "
                "compile` again"
            )
        return Build(
            folder,
            str(raw["digest"]),
            Target(**raw["target"]),
            Made(**raw["made"]),
            {name: _graph(one) for name, one in raw["graphs"].items()},
            {
                part: WeightFile(one["file"], one["sha256"], int(one["bytes"]), read_places(one["places"]))
                for part, one in raw["weights"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanRefused(f"{path} cannot be read ({error}): run `lineside engine compile` again") from error


def list_builds(root: Path, digest: str) -> list[Build]:
    """Every build of a bundle whose record can be read."""
    found: list[Build] = []
    for path in sorted((root / digest).glob(f"*/{RECORD}")):
        try:
            found.append(read_record(path.parent))
        except PlanRefused:
            continue
    return found


def find_build(
    root: Path, digest: str, target: Target, *, context: int | None = None, rounding: str | None = None
) -> Build:
    """The build of a bundle that this machine may run, its files unverified: see `check_files`.

    `context`: the least capacity wanted; the smallest build that has it is taken, the largest without one.

    Raises:
        PlanRefused: none, with what there is instead: another version, another chip, a shorter context.
    """
    again = f"run `lineside engine compile BUNDLE --runtime {target.runtime}` on this machine"
    builds = [one for one in list_builds(root, digest) if one.digest == digest]
    builds = [one for one in builds if one.target.runtime == target.runtime and one.graphs.keys() >= DECODER]
    if not builds:
        raise PlanRefused(f"the engine was not compiled for {target.runtime}: {again}")
    fitting = [one for one in builds if one.target.sm == target.sm]
    if not fitting:
        chips = ", ".join(sorted({f"sm_{one.target.sm}" for one in builds}))
        raise PlanRefused(
            f"the engine was compiled for {chips}, and this machine's chip is sm_{target.sm}: {again}"
        )
    same = [one for one in fitting if one.target.version == target.version]
    if not same:
        versions = ", ".join(sorted({one.target.version for one in fitting}))
        raise PlanRefused(
            f"the engine was compiled with {target.runtime} {versions}, and {target.version} is "
            "installed; plans "
            f"of one version do not run in another: {again}"
        )
    same = [one for one in same if rounding is None or one.made.rounding == rounding]
    if not same:
        raise PlanRefused(
            f"the engine was not compiled with weights as {rounding}: {again} --weights {rounding}"
        )
    same.sort(key=lambda one: one.made.context)
    if context is None:
        return same[-1]
    for one in same:
        if one.made.context >= context:
            return one
    raise PlanRefused(
        f"the engine was compiled for a context of up to {same[-1].made.context} tokens, {context} "
        "were asked for: "
        f"{again} with --context-tokens {context}"
    )


def is_intact(build: Build, one: CompiledGraph | WeightFile) -> bool:
    """Whether a file is what was written, and nobody else may have changed it; it is hashed."""
    path = build.path(one.file)
    if not path.is_file() or path.stat().st_mode & 0o022 or path.stat().st_size != one.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == one.sha256


def check_files(build: Build, records: VerificationRecords | None = None) -> None:
    """Whether all of a build's files are what was written; hashed once, as bundles are (`verification.py`).

    Raises:
        PlanRefused: a file is missing, was changed, or may be written by others.
    """
    wanted = {one.file: one.sha256 for one in build.graphs.values()}
    wanted |= {one.file: one.sha256 for one in build.weights.values()}
    for name in wanted:
        path = build.path(name)
        if not path.is_file():
            raise PlanRefused(
                f"{name} of the build {build.folder.name} is gone: run `lineside engine compile` again"
            )
        if path.stat().st_mode & 0o022:
            raise PlanRefused(
                f"{path} may be written by others: remove it and run `lineside engine compile` again"
            )
    key = hashlib.sha256((build.folder / RECORD).read_bytes()).hexdigest()
    if records is not None and records.holds(build.folder, key, wanted):
        return
    before = fingerprint(build.folder, wanted)
    for name, digest in wanted.items():
        with build.path(name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise PlanRefused(
                    f"{name} of the build {build.folder.name} was changed or damaged: run `lineside "
                    "engine compile` "
                    "again"
                )
    if records is not None and fingerprint(build.folder, wanted) == before:
        records.keep(build.folder, key, before)


def _graph(raw: Mapping[str, Any]) -> CompiledGraph:
    grid = raw.get("grid")
    return CompiledGraph(
        **{
            **raw,
            "kernels": tuple(raw["kernels"]),
            "grid": None if grid is None else (int(grid[0]), int(grid[1])),
        }
    )
