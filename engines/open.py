"""Opening an engine: from a bundle to a session that answers.

Knows bundles and sessions; which runtimes there are, and how they load graphs, is in `runtimes.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tokenizers import Tokenizer

from lineside.engines.answering.generate import Generator
from lineside.engines.answering.pictures import PictureShelf
from lineside.engines.answering.plans import Planner
from lineside.engines.answering.reading import PromptReader
from lineside.engines.answering.runtime import Decoder
from lineside.engines.answering.session import EngineSession, SessionParts
from lineside.engines.base import EngineInfo
from lineside.engines.bundle import Bundle, open_bundle
from lineside.engines.chat import ChatTemplate, PromptWriter
from lineside.engines.config import ModelConfig, parse_config
from lineside.engines.errors import DamagedBundle, IncompatibleBundle, UnsupportedModel
from lineside.engines.familiarity import FILE_NAME, FamiliarityStats, load_stats
from lineside.engines.grammar import GrammarCompiler
from lineside.engines.pixels import PatchMaker, read_numbers
from lineside.engines.positions import TextRotary
from lineside.engines.prefixes import PrefixTree
from lineside.engines.runtimes import Runtime, candidates, first_that_runs
from lineside.engines.signing import TrustPolicy, policy_of

DEFAULT_CONTEXT = 4096
SNAPSHOT_BYTES = 256 << 20
PICTURE_BYTES = 64 << 20
_END_WORDS = ("<|im_end|>", "<|endoftext|>")


def default_cache() -> Path:
    """Where archives are unpacked: `$LINESIDE_CACHE`, or the user's cache folder."""
    named = os.environ.get("LINESIDE_CACHE")
    if named:
        return Path(named) / "engines"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lineside" / "engines"


class Engine:
    """The way to a session (contract): `Engine.open(bundle)`."""

    @staticmethod
    def open(
        bundle: Path,
        runtime: str = "auto",
        *,
        threads: int | None = None,
        context_tokens: int | None = None,
        snapshot_bytes: int = SNAPSHOT_BYTES,
        picture_bytes: int = PICTURE_BYTES,
        cache: Path | None = None,
        trust: TrustPolicy | None = None,
    ) -> EngineSession:
        """Verifies a bundle (folder or `.lsengine`) and opens it.

        `runtime`: `auto` or one of `runtimes.RUNTIMES`. `threads`: cores a call may use on the processor;
        None takes what was measured to be best: one for an engine of a few megabytes, else all.
        `context_tokens`: room for prompt, pictures and answer, at most what the bundle allows; None takes the
        bundle's number, but no more than 4096, because memory grows with it. `snapshot_bytes`: memory for
        states that prompts share (fixed words, pictures asked about again), `picture_bytes`: for what the
        vision tower said of the last pictures; 0 keeps none. `cache`: where an archive is unpacked.
        `trust`: which signatures count and whether one is needed; None takes what the environment says
        (`LINESIDE_ENGINE_TRUST`).

        Raises:
            DamagedBundle: it fails its hashes or is no bundle.
            UntrustedBundle: it has not the signature that is needed, or was altered since.
            NotEnoughMemory: weights and states of this context exceed the memory that is free.
            IncompatibleBundle: this software or machine cannot run it; the message says what can be done.
        """
        policy = trust if trust is not None else policy_of(os.environ)
        cache = cache if cache is not None else default_cache()
        verified = open_bundle(bundle, cache, policy.admit)
        return first_that_runs(
            candidates(verified, runtime, cache),
            lambda choice: assemble(
                verified,
                choice,
                threads=threads,
                context_tokens=context_tokens,
                snapshot_bytes=snapshot_bytes,
                picture_bytes=picture_bytes,
            ),
        )


def assemble(
    bundle: Bundle,
    runtime: Runtime,
    *,
    threads: int | None = None,
    context_tokens: int | None = None,
    snapshot_bytes: int = SNAPSHOT_BYTES,
    picture_bytes: int = PICTURE_BYTES,
) -> EngineSession:
    """A session of a verified bundle on one runtime. Arguments and errors are those of `Engine.open`."""
    manifest = bundle.manifest
    context = _context(bundle, context_tokens)
    config = _config(bundle)
    tokenizer = _tokenizer(bundle)
    maker = _patch_maker(bundle, config)
    need = runtime.check_room(bundle, context)
    loaded = runtime.load(bundle, config, context, threads)
    try:
        decoder = loaded.decoder
        _check_sizes(config, decoder, tokenizer)
        rope = config.text.rope
        rotary = TextRotary(rope.rotary_dim, rope.theta, rope.sections)
        states = decoder.states(1, context)
        writer = PromptWriter(ChatTemplate(bundle.text("chat_template.jinja")), tokenizer, config.tokens)
        ends = _end_tokens(config, tokenizer)
        compiler = GrammarCompiler(tokenizer.to_str(), decoder.vocabulary, ends)
        sees = maker is not None and loaded.vision is not None
        info = EngineInfo(
            name=manifest.name,
            version=manifest.version,
            digest=manifest.digest,
            runtime=runtime.name,
            precision=manifest.precision,
            licence=manifest.licence,
            context_tokens=context,
            is_demo=manifest.is_demo,
            scope=None if manifest.scope is None else tuple(one.instruction for one in manifest.scope),
            card=manifest.card,
            memory_bytes=max(need, loaded.device_bytes),
            threads=loaded.threads,
        )
        parts = SessionParts(
            vision=loaded.vision if sees else None,
            pictures=PictureShelf(picture_bytes, maker) if sees and maker is not None else None,
            planner=Planner(writer, compiler, decoder, rotary, states),
            reader=PromptReader(states, PrefixTree(snapshot_bytes)),
            generator=Generator(decoder, states, rotary, tokenizer, ends),
            scope=manifest.scope,
            familiarity=_familiarity(bundle),
        )
    except BaseException:
        loaded.close()
        raise
    return EngineSession(info, parts, loaded.close)


def _config(bundle: Bundle) -> ModelConfig:
    try:
        return parse_config(bundle.json("config.json"))
    except UnsupportedModel as error:
        raise IncompatibleBundle(f"this software does not run {bundle.manifest.name}: {error}") from error


def _tokenizer(bundle: Bundle) -> Tokenizer:
    try:
        return Tokenizer.from_str(bundle.text("tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise DamagedBundle(f"tokenizer.json cannot be read: {error}") from error


def _check_sizes(config: ModelConfig, decoder: Decoder, tokenizer: Tokenizer) -> None:
    for what, graph, wanted in (
        ("hidden size", decoder.hidden, config.text.hidden),
        ("rotary size", decoder.rotary_half * 2, config.text.rope.rotary_dim),
        ("vocabulary", decoder.vocabulary, config.text.vocab_size),
    ):
        if graph != wanted:
            raise DamagedBundle(f"the decoder has a {what} of {graph}, config.json says {wanted}")
    if tokenizer.get_vocab_size() > decoder.vocabulary:
        raise DamagedBundle("tokenizer.json has more tokens than the decoder knows")


def _context(bundle: Bundle, wanted: int | None) -> int:
    allowed = bundle.manifest.context_tokens
    if wanted is None:
        return min(allowed, DEFAULT_CONTEXT)
    if not 0 < wanted <= allowed:
        raise IncompatibleBundle(
            f"{bundle.manifest.name} takes a context of up to {allowed} tokens, {wanted} were asked for"
        )
    return wanted


def _patch_maker(bundle: Bundle, config: ModelConfig) -> PatchMaker | None:
    if config.vision is None:
        return None
    clip = "video_preprocessor_config.json"
    try:
        numbers = read_numbers(
            bundle.json("preprocessor_config.json"), bundle.json(clip) if bundle.has(clip) else None
        )
    except UnsupportedModel as error:
        raise IncompatibleBundle(f"this software does not run {bundle.manifest.name}: {error}") from error
    wanted = (config.vision.patch, config.vision.temporal_patch, config.vision.merge)
    if (numbers.patch, numbers.temporal_patch, numbers.merge) != wanted:
        raise DamagedBundle("preprocessor_config.json and config.json disagree about patch sizes")
    return PatchMaker(numbers)


def _end_tokens(config: ModelConfig, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The configuration's end tokens and the chat format's own: checkpoints name one or the other."""
    named = [tokenizer.token_to_id(word) for word in _END_WORDS]
    found = dict.fromkeys([*config.end_token_ids, *(token for token in named if token is not None)])
    known = tuple(token for token in found if tokenizer.id_to_token(token) is not None)
    if not known:
        raise DamagedBundle("neither config.json nor tokenizer.json names an end token")
    return known


def _familiarity(bundle: Bundle) -> dict[str, FamiliarityStats]:
    if not bundle.has(FILE_NAME):
        return {}
    try:
        return load_stats(bundle.path(FILE_NAME))
    except Exception as error:  # safetensors' errors are its own, and say what is wrong
        raise DamagedBundle(f"{FILE_NAME} cannot be read: {error}") from error
