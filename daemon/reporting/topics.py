"""The topics of the JSON dialect: `lineside/v1/{site}/{area}/{line}/{device}/…`. No other file spells one."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "lineside/v1"
COMMANDS = "cmd"
REPLIES = "reply"
LONGEST_TOPIC = 1024


class BadTopic(ValueError):
    """A name that cannot be part of a topic, or a topic that may not be published to."""


def check_segment(name: str) -> str:
    """`name` itself, when it can be one level of a topic.

    Raises:
        BadTopic: empty, too long, or with a character that means something in topics.
    """
    if not 1 <= len(name) <= 128:
        raise BadTopic(f"'{name[:20]}' must have 1 to 128 characters")
    if name.startswith("$"):
        raise BadTopic(f"'{name}' begins with $, which brokers keep for themselves")
    if not name.isprintable() or set(name) & set("+#/ "):
        raise BadTopic(f"'{name}' holds a space, +, #, / or an unprintable character")
    return name


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device. Raises BadTopic for names that cannot be in a topic."""

    site: str
    area: str
    line: str
    device: str

    def __post_init__(self) -> None:
        for name in (self.site, self.area, self.line, self.device):
            check_segment(name)

    @property
    def base(self) -> str:
        """What all topics of this device begin with, without a slash at the end."""
        return f"{PREFIX}/{self.site}/{self.area}/{self.line}/{self.device}"

    @property
    def status(self) -> str:
        """Whether the device is there. Retained; the last will speaks here."""
        return f"{self.base}/status"

    @property
    def alert(self) -> str:
        """What a person should hear of."""
        return f"{self.base}/alert"

    @property
    def metrics(self) -> str:
        """Counters and ages, every few seconds."""
        return f"{self.base}/metrics"

    def verdict(self, station: str) -> str:
        """Results of a station."""
        return f"{self.base}/stations/{check_segment(station)}/verdict"

    def state(self, station: str) -> str:
        """A station as it is now. Retained."""
        return f"{self.base}/stations/{check_segment(station)}/state"

    @property
    def commands(self) -> str:
        """The filter that takes in every command."""
        return f"{self.base}/{COMMANDS}/+"

    def command(self, name: str) -> str:
        """Where a command is given."""
        return f"{self.base}/{COMMANDS}/{check_segment(name)}"

    def reply(self, name: str) -> str:
        """Where a command is answered when its sender named no response topic."""
        return f"{self.base}/{REPLIES}/{check_segment(name)}"

    def command_of(self, topic: str) -> str | None:
        """The command's name when `topic` is a command of this device."""
        start = f"{self.base}/{COMMANDS}/"
        name = topic.removeprefix(start)
        return name if topic.startswith(start) and name and "/" not in name else None

    def check_response(self, topic: str) -> str:
        """A response topic that a sender chose, when it may be published to.

        Raises:
            BadTopic: it has wildcards, is too long, belongs to the broker, or is a topic of this
                device other than a reply: nobody may have the device speak falsely in its own name.
        """
        if not 1 <= len(topic) <= LONGEST_TOPIC or not topic.isprintable() or set(topic) & set("+#"):
            raise BadTopic("a response topic has 1 to 1024 printable characters without + and #")
        if topic.startswith("$"):
            raise BadTopic("a response topic may not begin with $")
        if topic.startswith(f"{PREFIX}/") and not topic.startswith(f"{self.base}/{REPLIES}/"):
            raise BadTopic(f"a response topic under {PREFIX}/ must be under {self.base}/{REPLIES}/")
        return topic
