"""The topics of Sparkplug B: `spBv1.0/{group}/{type}/{edge node}[/{device}]`. No other file spells one."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.daemon.reporting.topics import BadTopic

NAMESPACE = "spBv1.0"
LONGEST = 256


def check_id(name: str) -> str:
    """`name` itself, when it can be a group, edge node, device or host id.

    Raises:
        BadTopic: empty, too long, or with a character that means something in topics.
    """
    if not 1 <= len(name) <= LONGEST:
        raise BadTopic(f"'{name[:20]}' must have 1 to {LONGEST} characters")
    if not name.isprintable() or set(name) & set("+#/"):
        raise BadTopic(f"'{name}' holds +, #, / or an unprintable character")
    return name


def check_group(name: str) -> str:
    """`name` itself, when it can be a group id. Raises BadTopic."""
    if name == "STATE":
        raise BadTopic(f"a group cannot be called STATE: {NAMESPACE}/STATE/… is where hosts speak")
    return check_id(name)


@dataclass(frozen=True, slots=True)
class Names:
    """One edge node's topics. Raises BadTopic for names that cannot be in a topic."""

    group: str
    node: str
    host: str | None = None

    def __post_init__(self) -> None:
        check_group(self.group)
        for name in (self.node, *(() if self.host is None else (self.host,))):
            check_id(name)

    def topic(self, kind: str, device: str | None = None) -> str:
        """Where messages of a kind go; those that begin with N are without a device, all others with one."""
        if (device is None) != kind.startswith("N"):
            raise ValueError(f"{kind} is not spoken with device {device!r}")
        start = f"{NAMESPACE}/{self.group}/{kind}/{self.node}"
        return start if device is None else f"{start}/{check_id(device)}"

    @property
    def node_commands(self) -> str:
        """Where hosts command the edge node."""
        return self.topic("NCMD")

    @property
    def device_commands(self) -> str:
        """The filter that takes in commands to every device of the edge node."""
        return f"{NAMESPACE}/{self.group}/DCMD/{self.node}/+"

    @property
    def host_state(self) -> str | None:
        """Where the primary host says whether it is there; None without one."""
        return None if self.host is None else f"{NAMESPACE}/STATE/{self.host}"

    def commanded(self, topic: str) -> str | None:
        """The device that a DCMD topic names; None when it is no such topic."""
        start = self.device_commands.removesuffix("+")
        device = topic.removeprefix(start)
        return device if topic.startswith(start) and device and "/" not in device else None
