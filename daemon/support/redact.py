"""Keeps secrets out of text: the ones this device is known to have, and whatever looks like one.

Knows the settings' secrets by value, so that no form of writing them gets through. Knows no files of a
bundle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from lineside.daemon.admission import rpc_options
from lineside.daemon.pki.device import DeviceKeys
from lineside.daemon.secrets import masked_text
from lineside.daemon.settings import GstreamerCamera, Settings, StreamCamera

MASK = "***"
SHORTEST = 4
"""A shorter secret would be found everywhere by chance, and guessed as easily."""

# To the end of the line: where a value ends, only its own syntax knows. Names of files are no secrets.
_NAMED = re.compile(
    r"(?im)(?P<key>[\w.-]*(?:passw|passphrase|secret|token(?![a-z])|api_?key|credential|authorization)[\w.-]*['\"]?"
    r"\s*[:=]\s*)(?P<value>\S.*)$"
)
_FILE = re.compile(r"(?i)_file['\"]?\s*[:=]\s*$")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)


class Redactor:
    """Masks `secrets` and what looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {
            form
            for secret in secrets
            for form in (secret, quote(secret, safe=""), unquote(secret))
            if len(form) >= SHORTEST
        }
        # The longest first: a secret may be part of another.
        self._secrets = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text with every secret replaced by ***."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _NAMED.sub(_unless_a_file, masked_text(_PEM.sub(MASK, text)))

    def tree(self, value: object) -> object:
        """A JSON value with every string in it redacted: it stays JSON, however a secret was written."""
        match value:
            case str():
                return self(value)
            case Mapping():
                return {self(str(key)): self.tree(inner) for key, inner in value.items()}
            case list() | tuple():
                return [self.tree(inner) for inner in value]
            case _:
                return value


def _unless_a_file(found: re.Match[str]) -> str:
    return found[0] if _FILE.search(found["key"]) else found["key"] + MASK


def secrets_of(settings: Settings) -> set[str]:
    """What the settings name as secret: passwords in addresses, and the lines of secret files."""
    found: set[str] = set()
    for camera in settings.cameras:
        if isinstance(camera, StreamCamera):
            found |= _in_address(camera.url)
        elif isinstance(camera, GstreamerCamera):
            for word in camera.pipeline.split():
                option, _, value = word.partition("=")
                hidden = option.endswith(("-pw", "password")) and value
                found |= {value} if hidden else _in_address(value or option)
    served = rpc_options(settings).tls
    found |= _lines(DeviceKeys.under(settings.device.data_dir, settings.device.id).key)
    if served is not None:
        found |= _lines(served.key)
    mqtt = settings.mqtt
    if mqtt is not None:
        key = mqtt.tls.key_file if mqtt.tls is not None else None
        for file in (mqtt.password_file, key):
            found |= _lines(file) if file is not None else set()
    return found


def _in_address(url: str) -> set[str]:
    credentials = url.partition("://")[2].rpartition("@")[0]
    password = credentials.partition(":")[2]
    query = urlsplit(url).query if "@" not in url.rpartition("?")[2] else ""
    values = {part.partition("=")[2] for part in query.split("&")} if masked_text(url) != url else set()
    return {value for value in (password, *values) if value}


def _lines(file: Path) -> set[str]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return set()  # who cannot read it cannot tell it
    return {line.strip() for line in lines if line.strip() and not line.startswith("-----")}
