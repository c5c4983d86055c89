"""Where alerts are told: webhooks and mail, from a TOML file that only the following process reads.

Secrets are in files of their own that this file names, and that nobody but their owner and group may read.

    [[webhook]]
    name = "andon"
    url = "https://andon.plant.example/hook"
    secret_file = "/etc/lineside/andon.key"     # at least 16 bytes; signs every message
    least = "warning"                            # notice (default), warning or critical
    escalation = false                           # true: only what nobody acknowledged in time
    language = "en"

    [[mail]]
    name = "shift"
    server = "mail.plant.example:587"
    security = "starttls"                        # or "tls"; "none" on this machine only
    sender = "lineside@plant.example"
    to = ["shift@plant.example"]
    user = "lineside"
    password_file = "/etc/lineside/mail.password"
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lineside.dashboard.alerts.plan import RefusedPlan, Severity
from lineside.dashboard.config import Address, RefusedConfiguration
from lineside.dashboard.texts import LANGUAGES

SHORTEST_SECRET = 16


@dataclass(frozen=True, slots=True)
class Webhook:
    """A program that is told by POST; `secret` signs, and is read anew for every message."""

    url: str
    secret_file: Path
    authority: Path | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """People who are told by mail."""

    server: Address
    security: str
    sender: str
    to: tuple[str, ...]
    user: str = ""
    password_file: Path | None = None
    authority: Path | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to tell somebody. `escalation`: only what was not acknowledged in time."""

    name: str
    way: Webhook | Mail
    least: Severity = Severity.NOTICE
    escalation: bool = False
    language: str = "en"

    def wants(self, severity: Severity, *, escalated: bool) -> bool:
        """Whether an alert is told here."""
        return severity >= self.least and escalated == self.escalation


def read_channels(path: Path) -> tuple[Channel, ...]:
    """The channels of a file.

    Raises:
        RefusedConfiguration: it cannot be read, or names what cannot be; the message says what and where.
    """
    try:
        told = tomllib.loads(path.read_text())
    except OSError as error:
        raise RefusedConfiguration(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RefusedConfiguration(f"{path} is not TOML: {error}") from None
    unknown = set(told) - set(WAYS)
    if unknown:
        raise RefusedConfiguration(f"{path}: '{min(unknown)}' is none of [[webhook]] and [[mail]]")
    channels = []
    for kind in WAYS:
        for number, one in enumerate(told.get(kind, []), 1):
            try:
                channels.append(_channel(kind, dict(one)))
            except (RefusedConfiguration, RefusedPlan, KeyError, TypeError, ValueError) as error:
                why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                raise RefusedConfiguration(f"{path}, [[{kind}]] number {number}: {why}") from None
    names = [channel.name for channel in channels]
    if len(set(names)) != len(names):
        raise RefusedConfiguration(f"{path}: every channel needs a name of its own")
    return tuple(channels)


def read_secret(path: Path) -> bytes:
    """What a secret's file holds, without the line's end.

    Raises:
        RefusedConfiguration: it cannot be read, is empty, or others may read it. Its content is never quoted.
    """
    try:
        mode, words = path.stat().st_mode, path.read_bytes().strip()
    except OSError as error:
        raise RefusedConfiguration(f"the secret {path} cannot be read: {error.strerror}") from None
    if mode & stat.S_IRWXO:
        raise RefusedConfiguration(f"everybody may read the secret {path}: chmod o= {path}")
    if not words:
        raise RefusedConfiguration(f"the secret {path} is empty")
    return words


def _channel(kind: str, told: dict[str, Any]) -> Channel:
    name, language = str(told.pop("name")), str(told.pop("language", "en"))
    if not 1 <= len(name) <= 64:
        raise RefusedConfiguration("a name has 1 to 64 characters")
    if language not in LANGUAGES:
        raise RefusedConfiguration(f"there is no language '{language}': {', '.join(LANGUAGES)}")
    least, escalation = Severity.read(told.pop("least", "notice")), told.pop("escalation", False)
    if not isinstance(escalation, bool):
        raise RefusedConfiguration("escalation is true or false")
    way = WAYS[kind](told)
    if told:
        raise RefusedConfiguration(f"'{min(told)}' is nothing that can be set")
    return Channel(name, way, least, escalation, language)


def _webhook(told: dict[str, Any]) -> Webhook:
    url = str(told.pop("url"))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise RefusedConfiguration("url must be https://host/path, without a user in it")
    if parts.scheme == "http" and not Address(parts.hostname, 80).is_loopback:
        raise RefusedConfiguration("http:// is for this machine only: use https://")
    secret = Path(told.pop("secret_file"))
    if len(read_secret(secret)) < SHORTEST_SECRET:
        raise RefusedConfiguration(f"the secret {secret} is shorter than {SHORTEST_SECRET} bytes")
    return Webhook(url, secret, _path(told, "authority"))


def _mail(told: dict[str, Any]) -> Mail:
    server, security = Address.parse(str(told.pop("server"))), str(told.pop("security", "starttls"))
    if security not in ("starttls", "tls", "none"):
        raise RefusedConfiguration("security is starttls, tls or none")
    if security == "none" and not server.is_loopback:
        raise RefusedConfiguration("security 'none' is for a mail server on this machine only")
    to = told.pop("to")
    if not isinstance(to, list) or not to or not all(isinstance(one, str) and "@" in one for one in to):
        raise RefusedConfiguration("to is a list of addresses")
    user, password = str(told.pop("user", "")), _path(told, "password_file")
    if bool(user) != (password is not None):
        raise RefusedConfiguration("user and password_file belong together")
    if password is not None:
        read_secret(password)
    sender = str(told.pop("sender"))
    if any(c in words for words in (sender, *to) for c in "\r\n"):
        raise RefusedConfiguration("an address is one line")
    return Mail(server, security, sender, tuple(to), user, password, _path(told, "authority"))


def _path(told: dict[str, Any], name: str) -> Path | None:
    words = told.pop(name, None)
    return Path(words) if words is not None else None


WAYS: Mapping[str, Any] = {"webhook": _webhook, "mail": _mail}
