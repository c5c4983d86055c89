"""What a Jetson says of itself in files: its release, its power modes, its rails. Standard library only.

The installer in `jetson/` reads this very file on a fresh Jetson, before anything is installed: nothing of
ours may be imported here, and Python 3.10 must do. Written from NVIDIA's documentation of Jetson Linux and
the kernel's of `ina3221`; not yet read back from a box of ours. Knows files; judges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_RELEASE = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)")
_MODEL = re.compile(r"<\s*POWER_MODEL\s+(.*?)>")
_ATTRIBUTE = re.compile(r"(\w+)=(\S+)")
_JETPACKS = {(36, 3): "6.0", (36, 4): "6.1 or 6.2", (38, 2): "7.0", (38, 4): "7.1", (39, 2): "7.2"}


@dataclass(frozen=True)
class Release:
    """Jetson Linux: R`major`.`revision`, as in R39.2."""

    major: int
    revision: tuple[int, ...]

    def __str__(self) -> str:
        return f"R{self.major}.{'.'.join(map(str, self.revision))}"

    @property
    def jetpack(self) -> str:
        """The JetPack that comes with it, as far as it is known here."""
        return _JETPACKS.get((self.major, self.revision[0]), "")

    def at_least(self, major: int, minor: int) -> bool:
        """Whether it is this release or a later one."""
        return (self.major, self.revision[0]) >= (major, minor)


@dataclass(frozen=True)
class PowerMode:
    """One of nvpmodel's modes. Clocks in hertz, None where the mode sets no limit; `cores`: left on."""

    number: int
    name: str
    gpu_hz: int | None = None
    memory_hz: int | None = None
    cores: int = 0
    gates: str = ""
    """Graphics clusters that it switches off; a change of them needs a restart of the box."""


@dataclass(frozen=True)
class Rail:
    """One measured supply. Alarms are of its current, as the chip raises them."""

    name: str
    watts: float
    alarms: tuple[str, ...] = field(default=())


def read_text(file: Path) -> str:
    """A file's text without white space and end marks around; empty where it cannot be read."""
    try:
        return file.read_text(errors="replace").strip("\0 \n\t")
    except OSError:
        return ""


def model(root: Path) -> str:
    """The board's name, such as `NVIDIA Jetson AGX Orin Developer Kit`; empty where there is none."""
    return read_text(root / "proc/device-tree/model")


def release(root: Path) -> Release | None:
    """The release of Jetson Linux; None on anything else."""
    found = _RELEASE.search(read_text(root / "etc/nv_tegra_release"))
    if found is None:
        return None
    return Release(int(found[1]), tuple(int(part) for part in found[2].split(".") if part))


def power_modes(root: Path) -> tuple[PowerMode, ...]:
    """The modes that nvpmodel knows for this board, in the order of its file."""
    modes: list[PowerMode] = []
    fields: dict[str, str] = {}
    gpu: int | None = None
    memory: int | None = None
    cores, gates = 0, ""

    def keep() -> None:
        if fields.get("ID", "").isdecimal() and "NAME" in fields:
            modes.append(PowerMode(int(fields["ID"]), fields["NAME"], gpu, memory, cores, gates))

    for line in read_text(root / "etc/nvpmodel.conf").splitlines():
        line = line.strip()
        if line.startswith("<"):
            keep()
            found = _MODEL.match(line)
            fields = dict(_ATTRIBUTE.findall(found[1])) if found else {}
            gpu, memory, cores, gates = None, None, 0, ""
            continue
        words = line.split()
        if not fields or len(words) != 3:
            continue
        knob, argument, value = words
        if (knob, argument) == ("GPU", "MAX_FREQ"):
            gpu = _limit(value)
        elif (knob, argument) == ("EMC", "MAX_FREQ"):
            memory = _limit(value)
        elif knob == "CPU_ONLINE":
            cores += value == "1"
        elif argument == "TPC_PG_MASK":
            gates = value
    keep()
    return tuple(modes)


def _limit(value: str) -> int | None:
    """A clock's limit; −1 and 0 are written where there is none."""
    number = int(value) if re.fullmatch(r"-?\d+", value) else -1
    return number if number > 0 else None


def power_mode(root: Path) -> int | None:
    """The number of the mode that was last set; whether it was applied is another question."""
    found = re.search(r"pmode:\s*(\d+)", read_text(root / "var/lib/nvpmodel/status"))
    return int(found[1]) if found else None


def gpu_folder(root: Path) -> Path | None:
    """Where the kernel shows the graphics processor's clock."""
    folders = sorted((root / "sys/class/devfreq").glob("*"))
    for ending in (".gpu", "gpu-gpc-0", ".ga10b", ".gv11b"):
        for folder in folders:
            if folder.name.endswith(ending):
                return folder
    return None


def hertz(file: Path) -> int | None:
    """A clock as sysfs writes it."""
    text = read_text(file)
    return int(text) if text.isdigit() else None


def rails(root: Path) -> Iterator[Rail]:
    """Every supply that an INA3221 measures, by its label; a channel that is switched off is left out."""
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read_text(folder / "name") != "ina3221":
            continue
        for channel in (1, 2, 3):
            label = read_text(folder / f"in{channel}_label")
            volts, amperes = (hertz(folder / f"{kind}{channel}_input") for kind in ("in", "curr"))
            if not label or label == "NC" or volts is None or amperes is None:
                continue
            alarms = tuple(
                kind for kind in ("crit", "max") if read_text(folder / f"curr{channel}_{kind}_alarm") == "1"
            )
            yield Rail(label, volts * amperes / 1e6, alarms)


def over_current_events(root: Path) -> int:
    """How often the chip slowed itself down for too much current since it was started."""
    counts = (root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")
    return sum(value for file in counts if (value := hertz(file)) is not None)
