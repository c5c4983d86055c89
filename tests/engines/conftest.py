"""A small tokenizer for the engine's tests, without a network and without weights of anybody's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tokenizers import Tokenizer

from lineside.engines.config import VisionTokens


def load_beside(name: str) -> ModuleType:
    """A plain module of this folder: test folders are no packages."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


tiny_tokenizer = load_beside("tiny_tokenizer")


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
