"""A checkpoint's folder beside its weights: what an engine takes along from it, and what it says of itself.

Knows the files that Hugging Face checkpoints have; does not know tensors or graphs.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from lineside.engines.config import ModelConfig
from lineside.engines.errors import UnsupportedModel

# What else of a checkpoint's folder an engine reads, where it is there.
_OPTIONAL_FILES = (
    "video_preprocessor_config.json",
    "generation_config.json",
    "familiarity.safetensors",
    "report.json",
    "report.md",
)
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*$", re.DOTALL | re.MULTILINE)
_CACHED = re.compile(r"models--(?P<model>.+)/snapshots/(?P<revision>[0-9a-f]{7,64})$")
# Model cards write licences in small letters; SPDX names do not.
_SPDX = {
    name.lower(): name
    for name in ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "MPL-2.0")
}
# A base model has seen no chat: pictures and words one after the other, nothing around them.
RAW_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}
{{- IMAGE -}}
{%- elif part.type == 'video' -%}
{{- VIDEO -}}
{%- else -%}
{{- part.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
"""


@dataclass(frozen=True, slots=True)
class Description:
    """What a folder says of itself; None where it says nothing. `model` and `revision`: where it is from."""

    model: str
    revision: str
    licence: str | None


def describe(folder: Path) -> Description:
    """Model, revision and licence: from the hub's cache layout, the model card, or the folder's name."""
    resolved = folder.resolve()
    cached = _CACHED.search(resolved.as_posix())
    model = cached["model"].replace("--", "/") if cached else resolved.name
    card = _front_matter(folder / "README.md")
    licence = card.get("license")
    if licence in ("other", None):
        licence = card.get("license_name")
    return Description(
        model, cached["revision"] if cached else "", _SPDX.get(licence.lower(), licence) if licence else None
    )


def _front_matter(card: Path) -> dict[str, str]:
    """The plain `key: value` lines at the head of a model card."""
    try:
        found = _FRONT_MATTER.match(card.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    if found is None:
        return {}
    lines = (re.fullmatch(r"([a-z_]+):\s*(\S.*?)\s*", line) for line in found[1].splitlines())
    return {line[1]: line[2].strip("'\"") for line in lines if line}


def copy_engine_files(folder: Path, config: ModelConfig, out: Path, *, raw: bool = False) -> None:
    """Copies what an engine needs beside its graphs. `raw`: of a model without a chat template.

    Raises:
        UnsupportedModel: a file is missing.
    """
    if config.vision is None and not (folder / "preprocessor_config.json").is_file():
        (out / "preprocessor_config.json").write_text("{}\n", "utf-8")  # no pictures: no numbers for them
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        if (out / name).exists():
            continue
        if not (folder / name).is_file():
            raise UnsupportedModel(f"{folder}: {name} is missing. An engine needs it: download it.")
        shutil.copyfile(folder / name, out / name)
    template = _raw_template(folder, config) if raw else _chat_template(folder)
    (out / "chat_template.jinja").write_text(template, "utf-8")
    for name in _OPTIONAL_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)


def _chat_template(folder: Path) -> str:
    """The checkpoint's template: a file of its own, or inside a JSON file, as older checkpoints have it."""
    plain = folder / "chat_template.jinja"
    if plain.is_file():
        return plain.read_text("utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            template = _json(folder / name).get("chat_template")
            if isinstance(template, str):
                return template
    raise UnsupportedModel(
        f"{folder}: no chat template (chat_template.jinja). Download it; or, if this is a base model, which "
        "has none, build it with --raw: prompts are then sent as they are."
    )


def _raw_template(folder: Path, config: ModelConfig) -> str:
    if config.tokens is None:
        return RAW_TEMPLATE
    named = {one.get("id"): one.get("content") for one in _added_tokens(folder)}
    tokens = config.tokens
    start, image, video, end = (
        str(named.get(token, "")) for token in (tokens.start, tokens.image, tokens.video, tokens.end)
    )
    return (
        f"{{%- set IMAGE = {json.dumps(start + image + end)} -%}}\n"
        f"{{%- set VIDEO = {json.dumps(start + video + end)} -%}}\n{RAW_TEMPLATE}"
    )


def _added_tokens(folder: Path) -> list[dict[str, object]]:
    found = _json(folder / "tokenizer.json").get("added_tokens")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{path}: cannot be read as JSON ({error}). Download it again.") from error
    return found if isinstance(found, dict) else {}
