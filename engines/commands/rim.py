"""What the commands share: how errors become a line and an exit code, and the arguments all of them take."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lineside.engines.errors import EngineError, UndecodableAnswer
from lineside.engines.signing import TrustPolicy, policy_of, trust_policy

BUNDLE = click.argument("bundle", type=click.Path(exists=True, path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of text.")
RUNTIME = click.option(
    "--runtime",
    default="auto",
    show_default=True,
    help="auto, onnxruntime (-cuda, -tensorrt-rtx), tensorrt or tensorrt-rtx.",
)
THREADS = click.option("--threads", type=click.IntRange(1), help="Cores to use; all by default.")
TRUST = click.option(
    "--trust",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of public keys (*.pub): the bundle must be signed by one of them. Without it, "
    "LINESIDE_ENGINE_TRUST may name the folder.",
)


class Refused(click.ClickException):
    """The bundle, checkpoint or question was refused; the message says what to do."""

    exit_code = 3


class NoAnswer(click.ClickException):
    """The engine ran and gave no valid answer."""

    exit_code = 1


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns the engine's own errors into a line on stderr and an exit code."""
    try:
        yield
    except EngineError as error:
        failed = NoAnswer if isinstance(error, UndecodableAnswer) else Refused
        raise failed(str(error)) from error


def as_json_text(fields: object) -> str:
    """One line of strict JSON; what is not a finite number becomes null, which every reader takes."""
    return json.dumps(_finite(fields), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def size_in_pixels(words: str) -> tuple[int, int]:
    """Width and height from `WxH`; raises click.UsageError."""
    width, _, height = words.partition("x")
    if not (width.isascii() and height.isascii() and width.isdigit() and height.isdigit()):
        raise click.UsageError(f"--image takes WxH, not {words!r}")
    if not (0 < int(width) <= 16_384 and 0 < int(height) <= 16_384):
        raise click.UsageError(f"--image {words}: each side must be 1 to 16384")
    return int(width), int(height)


def policy(trust: Path | None) -> TrustPolicy:
    """The trust policy of a command: the folder it was given, else what the environment says."""
    return trust_policy(trust) if trust is not None else policy_of(os.environ)
