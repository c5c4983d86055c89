"""A bundle's self-test: questions with the logits and tokens its engine gave when it was built.

Made once, on the machine that builds, and put into the bundle; run by `lineside engine verify` and before an
engine goes live, on whatever runtime it shall run on. It shows that this runtime computes what the builder's
did; whether the engine judges well is what golden sets are for. Knows the engine's interface; does not know
graphs.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lineside.engines.base import Answer, Choice, Clip, Count, Free, Grammar, Image, Observer, Prompt, Text
from lineside.engines.bundle import Bundle, amend_bundle, open_bundle, seal_folder
from lineside.engines.errors import DamagedBundle, EngineError, PromptTooLong, UndecodableAnswer
from lineside.engines.manifest import MANIFEST_NAME, Manifest, ScopeEntry
from lineside.engines.open import Engine
from lineside.engines.signing import TrustPolicy
from lineside.engines.tensorrt.library import RUNTIMES as COMPILED

FILE_NAME = "selftest.safetensors"
# How far logits may be off on another processor, relative to the largest of them: float32 differs by the
# order of sums, float16 by its rounding, integer weights by how activations are rounded to integers.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 5e-2, "int4": 5e-2}
_LOOSEST = 5e-2
_STEPS = 8
_SCOPE_CASES = 4
_CONTEXT = 2048


class Observable(Protocol):
    """An engine that shows the logits it reads answers from."""

    def answer(
        self,
        images: Sequence[Image | Clip],
        prompt: Prompt,
        grammar: Grammar,
        *,
        max_tokens: int = ...,
        observe: Observer | None = ...,
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Case:
    """One question. `values`: of a choice; `limits`: of a count; `pattern`: of a text; none: free text."""

    name: str
    prompt: Prompt
    picture: bool
    values: tuple[str, ...] = ()
    limits: tuple[int, int] | None = None
    pattern: str | None = None

    @property
    def grammar(self) -> Grammar:
        """What may be answered."""
        if self.values:
            return Choice(self.values)
        if self.limits is not None:
            return Count(*self.limits)
        return Text(self.pattern) if self.pattern is not None else Free(cut=True)


@dataclass(frozen=True, slots=True)
class Vector:
    """What an engine said: `logits` [vocabulary] after the prompt, `tokens` [n] of the answer.

    `margins` [n]: how far each token was ahead of the next, in logits; a nearer tie may fall the other way.
    """

    case: Case
    logits: NDArray[np.float32]
    tokens: NDArray[np.int64]
    margins: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """`error`: largest difference of logits over the largest expected; `objection`: None where it passed."""

    name: str
    error: float
    tokens_expected: tuple[int, ...]
    tokens: tuple[int, ...]
    objection: str | None


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """How an engine did on its own vectors."""

    runtime: str
    tolerance: float
    cases: tuple[CaseResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every case came out as it did when the engine was built."""
        return bool(self.cases) and all(case.objection is None for case in self.cases)


def tolerance_of(precision: str) -> float:
    """How far an engine of this precision may be off on another machine."""
    return next((value for name, value in TOLERANCES.items() if precision.startswith(name)), _LOOSEST)


def make_selftest(path: Path, *, runtime: str = "auto", threads: int | None = None) -> str:
    """Puts self-test vectors into a finished bundle, folder or archive, in one step; gives its new digest.

    Vectors that were there are replaced, and so is any signature: sign afterwards.

    Raises:
        DamagedBundle, IncompatibleBundle: the bundle does not open.
        UndecodableAnswer: its engine gives no finite logits.
        PromptTooLong: its context is too small for any question.
    """
    # Beside the bundle: the system's temporary folder may be too small for what it unpacks to.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as place:
        bundle = open_bundle(path, Path(place))
        vectors = _vectors(bundle, Path(place), runtime, threads)
    entry = _entry(bundle.manifest)
    return amend_bundle(path, lambda _: {"selftest": entry}, {FILE_NAME: vectors})


def add_selftest(
    folder: Path, fields: Mapping[str, object], *, runtime: str = "auto", threads: int | None = None
) -> dict[str, object]:
    """Puts vectors among files that are not a bundle yet; gives the manifest's `fields` with their entry.

    For a builder: what is packed already would have to be unpacked for `make_selftest`.

    Raises:
        As `make_selftest` does; and NotEnoughMemory: this machine builds an engine that it cannot run.
    """
    bundle = seal_folder(folder, fields)
    try:
        with tempfile.TemporaryDirectory(prefix="lineside-selftest-") as place:
            vectors = _vectors(bundle, Path(place), runtime, threads)
    finally:
        bundle.path(MANIFEST_NAME).unlink()
    (folder / FILE_NAME).write_bytes(vectors)
    return {**fields, "selftest": _entry(bundle.manifest)}


def _vectors(bundle: Bundle, cache: Path, runtime: str, threads: int | None) -> bytes:
    context = min(bundle.manifest.context_tokens, _CONTEXT)
    # No signature is asked for: nobody could have signed an engine that is only being made.
    trust = TrustPolicy()
    with Engine.open(
        bundle.folder, runtime, threads=threads, context_tokens=context, cache=cache, trust=trust
    ) as engine:
        vectors = [_if_it_fits(engine, case) for case in cases_of(bundle.manifest)]
    kept = [vector for vector in vectors if vector is not None]
    if not kept:
        raise PromptTooLong(f"a context of {context} tokens is too small for any question of the self-test")
    return pack(kept)


def _if_it_fits(engine: Observable, case: Case) -> Vector | None:
    try:
        return record(engine, case)
    except PromptTooLong:
        return None  # an engine built for short questions is tested with those that it can be asked


def _entry(manifest: Manifest) -> dict[str, object]:
    return {"file": FILE_NAME, "tolerance": tolerance_of(manifest.precision)}


def run_selftest(bundle: Bundle, engine: Observable, runtime: str) -> SelfTestReport | None:
    """Asks an engine what its bundle's vectors ask; None where the bundle has none.

    Raises:
        DamagedBundle: the vectors cannot be read.
    """
    entry = bundle.manifest.selftest
    if entry is None:
        return None
    # Compiled plans multiply in half precision, whatever the engine's weights are stored as.
    least = TOLERANCES["fp16"] if runtime in COMPILED else 0.0
    tolerance = max(entry.tolerance, least)
    vectors = unpack(bundle.path(entry.file))
    results = tuple(_result(engine, vector, tolerance) for vector in vectors)
    return SelfTestReport(runtime, tolerance, results)


def cases_of(manifest: Manifest) -> list[Case]:
    """What an engine is asked: its own questions where it knows only some, else words, talk and a picture."""
    if manifest.scope is not None:
        return [scope_case(entry) for entry in manifest.scope[:_SCOPE_CASES]]
    talk = "You inspect parts on a production line."
    cases = [
        Case("words", Prompt(question="The cap of the bottle is", raw=True), picture=False),
        Case("talk", Prompt(talk, "Name a defect that a bottle cap may have."), picture=False),
    ]
    if manifest.onnx is not None and manifest.onnx.vision is not None:
        cases.append(Case("picture", Prompt(talk, "What is in the picture?"), picture=True))
        cases.append(
            Case("choice", Prompt("Is the part good?"), picture=True, values=("good", "bad", "unclear"))
        )
    return cases


def scope_case(entry: ScopeEntry) -> Case:
    """A question that a narrow engine was trained for, as it was trained."""
    prompt = Prompt(entry.instruction)
    if entry.kind == "choice":
        return Case(entry.id, prompt, picture=True, values=entry.values)
    if entry.kind == "count":
        numbers = [int(value) for value in entry.values] or [0, 9]
        return Case(entry.id, prompt, picture=True, limits=(min(numbers), max(numbers)))
    return Case(entry.id, prompt, picture=True, pattern=entry.pattern or "[A-Z0-9]{1,8}")


def picture() -> Image:
    """The self-test's picture: slopes in three directions, a ring, a bar; 96 x 128, always the same."""
    rows, columns = np.mgrid[0:96, 0:128].astype(np.int32)
    slopes = np.stack([columns * 2, rows * 2, 255 - columns - rows], axis=2)
    radius = (rows - 48) ** 2 + (columns - 64) ** 2
    slopes[(radius > 600) & (radius < 1000)] = (240, 60, 40)
    slopes[76:84, 16:112] = (20, 30, 90)
    shown: Image = np.clip(slopes, 0, 255).astype(np.uint8)
    return shown


def record(engine: Observable, case: Case) -> Vector:
    """What an engine says to a case.

    Raises:
        UndecodableAnswer: its logits are not finite.
    """
    seen: list[NDArray[np.float32]] = []
    images = [picture()] if case.picture else []
    answer = engine.answer(
        images,
        case.prompt,
        case.grammar,
        max_tokens=_STEPS if isinstance(case.grammar, Free) else 256,
        observe=lambda one: seen.append(one.copy()),
    )
    if isinstance(case.grammar, Free):
        tops = [np.partition(one, -2)[-2:] for one in seen]
        tokens = np.array([int(one.argmax()) for one in seen], np.int64)
        margins = np.array([high - low for low, high in tops], np.float32)
    else:
        tokens = np.array(answer.token_ids, np.int64)
        margins = np.full(tokens.size, _least_margin(answer), np.float32)
    return Vector(case, seen[0], tokens, margins)


def _least_margin(answer: Answer) -> float:
    """The nearest that any decision came to going the other way, in logits."""
    gaps = [
        math.log(decision.alternatives[0][1]) - math.log(max(decision.alternatives[1][1], 1e-30))
        for decision in answer.decisions
        if len(decision.alternatives) > 1
    ]
    return min(gaps, default=math.inf)


def _result(engine: Observable, vector: Vector, tolerance: float) -> CaseResult:
    expected = tuple(int(token) for token in vector.tokens)
    try:
        now = record(engine, vector.case)
    except UndecodableAnswer as reason:
        return CaseResult(vector.case.name, math.inf, expected, (), str(reason))
    found = tuple(int(token) for token in now.tokens)
    if now.logits.shape != vector.logits.shape:
        message = f"{now.logits.size} logits instead of {vector.logits.size}"
        return CaseResult(vector.case.name, math.inf, expected, found, message)
    scale = float(np.abs(vector.logits).max()) or 1.0
    error = float(np.abs(now.logits - vector.logits).max()) / scale
    objection = None
    # Written so that NaN fails it.
    if not error <= tolerance:
        objection = f"the logits are off by {error:.2e} of the largest, more than {tolerance:.0e}"
    elif not _same_tokens(vector, found, 2 * tolerance * scale):
        objection = f"the tokens are {list(found)} instead of {list(expected)}"
    return CaseResult(vector.case.name, error, expected, found, objection)


def _same_tokens(vector: Vector, found: tuple[int, ...], near: float) -> bool:
    """Whether tokens agree up to the first that was so near a tie that it may fall either way."""
    for at, token in enumerate(vector.tokens):
        if at >= len(found) or found[at] != token:
            return bool(vector.margins[at] <= near)
    return len(found) == len(vector.tokens)


def pack(vectors: Sequence[Vector]) -> bytes:
    """Vectors as a safetensors file: `N.logits`, `N.tokens`, `N.margins`, and the cases as its metadata."""
    tensors: dict[str, NDArray[Any]] = {}
    for at, vector in enumerate(vectors):
        tensors |= {
            f"{at}.logits": vector.logits,
            f"{at}.tokens": vector.tokens,
            f"{at}.margins": vector.margins,
        }
    cases = json.dumps([asdict(vector.case) for vector in vectors], ensure_ascii=False)
    # One entry only: safetensors writes several in any order, and the same build shall give the same bytes.
    return save(tensors, metadata={"cases": cases})


def unpack(path: Path) -> list[Vector]:
    """The vectors in a file.

    Raises:
        DamagedBundle: it is no such file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            cases = json.loads((file.metadata() or {})["cases"])
            return [
                Vector(
                    _case(case),
                    *(file.get_tensor(f"{at}.{name}") for name in ("logits", "tokens", "margins")),
                )
                for at, case in enumerate(cases)
            ]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedBundle(f"{path.name} has no self-test vectors that can be read: {error}") from error


def _case(raw: Mapping[str, Any]) -> Case:
    limits = raw["limits"]
    return Case(
        name=str(raw["name"]),
        prompt=Prompt(**raw["prompt"]),
        picture=bool(raw["picture"]),
        values=tuple(raw["values"]),
        limits=None if limits is None else (int(limits[0]), int(limits[1])),
        pattern=raw["pattern"],
    )


def require_passed(report: SelfTestReport | None, name: str) -> None:
    """Raises SelfTestFailed where a report has a case that did not pass; none at all is no failure."""
    if report is None or report.passed:
        return
    wrong = [f"{case.name}: {case.objection}" for case in report.cases if case.objection is not None]
    raise SelfTestFailed(
        f"{name} does not compute on {report.runtime} what it did when it was built: {'; '.join(wrong)}"
    )


class SelfTestFailed(EngineError):
    """An engine that computes something else here than where it was built."""
