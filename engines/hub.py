"""Checkpoints from the Hugging Face hub, where there is a network and huggingface_hub is installed.

Downloads go on where they stopped. Knows the hub's client; does not know what a checkpoint is for.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from lineside.engines.errors import UnsupportedModel

_MODEL = re.compile(r"(?P<model>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "README.md")


def find_checkpoint(source: str) -> Path:
    """The folder of a checkpoint: a local one as it is, or `owner/name[@revision]` downloaded from the hub.

    Raises:
        UnsupportedModel: neither a folder nor a model that can be had; the message says what to do.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    named = _MODEL.fullmatch(source)
    if folder.exists() or named is None:
        raise UnsupportedModel(
            f"{source} is neither a folder nor the id of a model on the Hugging Face hub (owner/name): "
            "give the folder that holds config.json and *.safetensors."
        )
    return _downloaded(named["model"], named["revision"])


def _downloaded(model: str, revision: str | None) -> Path:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UnsupportedModel(
            f"there is no folder {model}, and fetching it from the Hugging Face hub needs "
            "huggingface_hub: install lineside[hub], or download the checkpoint and give its folder."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(_WANTED)))
    except GatedRepoError as error:
        raise UnsupportedModel(
            f"{model} asks for consent: accept its licence on the hub and log in (hf auth login)."
        ) from error
    except RevisionNotFoundError as error:
        raise UnsupportedModel(f"{model} has no revision {revision} on the Hugging Face hub.") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UnsupportedModel(
            f"{model} is neither a folder here nor a public model on the Hugging Face hub."
        ) from error
    # No network, a proxy, a broken download: the client lets its transport's own errors through.
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
        raise UnsupportedModel(
            f"{model} cannot be fetched from the Hugging Face hub ({_short(error)}). With a network, run the "
            "command again: it goes on where it stopped. Without one, copy the checkpoint's folder here and "
            "give its path."
        ) from error


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
