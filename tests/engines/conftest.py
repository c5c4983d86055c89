"""A small tokenizer and random engines for the tests, without a network and without weights of anybody's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import graph_runner as plain_runner
import pytest
import tiny_engine
import tiny_tokenizer
from tokenizers import Tokenizer

from lineside.engines.base import AnswersQuestions
from lineside.engines.config import VisionTokens
from lineside.engines.open import Engine


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return tiny_tokenizer.build_tokenizer()


@pytest.fixture(scope="session")
def chat_template() -> str:
    return str(tiny_tokenizer.CHAT_TEMPLATE)


@pytest.fixture(scope="session")
def vision_tokens(tokenizer: Tokenizer) -> VisionTokens:
    return VisionTokens(
        image=tokenizer.token_to_id("<|image_pad|>"),
        video=tokenizer.token_to_id("<|video_pad|>"),
        start=tokenizer.token_to_id("<|vision_start|>"),
        end=tokenizer.token_to_id("<|vision_end|>"),
    )


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of the mixture-of-experts family, with everything a bundle needs."""
    return tiny_engine.write_checkpoint(tmp_path_factory.mktemp("checkpoint"), "moe")


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `checkpoint`, as a folder."""
    return tiny_engine.build(checkpoint, tmp_path_factory.mktemp("bundle") / "engine")


@pytest.fixture
def engine(bundle: Path) -> Iterator[AnswersQuestions]:
    """A fresh session on `bundle`, one thread."""
    opened = Engine.open(bundle, threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def graph_runner() -> ModuleType:
    """What runs graphs the plainest way."""
    return plain_runner
