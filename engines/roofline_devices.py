"""What the boxes can do at most by their data sheets: memory bandwidth, memory, and matrix products a second.

The sheets' numbers, not measurements: nothing of ours was run on these devices. Compute is dense, and
with float32 accumulation where the sheet tells the two apart, which consumer cards halve. Knows the
names under which a machine shows itself; does not know engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lineside.engines.roofline import Roofline

GB = 1e9
TERA = 1e12


@dataclass(frozen=True, slots=True)
class Device:
    """`bandwidth`: bytes a second; `compute`: operations a second (a multiply-add is two) by number format.

    `memory`: bytes in all, on a Jetson shared with everything else; `sm`: compute capability × 10, 0 for a
    processor. `shows_as`: what its name contains where the machine shows it, lower case.
    """

    name: str
    bandwidth: float
    memory: int
    compute: Mapping[str, float]
    sm: int
    is_jetson: bool = False
    shows_as: tuple[str, ...] = ()
    source: str = "data sheet"
    note: str = ""

    def operations(self, kind: str) -> float:
        """Operations a second in a number format; a format the chip has no units for runs as float16."""
        return self.compute.get(kind, self.compute["fp16"])


def _device(
    name: str,
    bandwidth: float,
    memory: int,
    sm: int,
    compute: Mapping[str, float],
    shows_as: str,
    *,
    is_jetson: bool = False,
    note: str = "",
) -> Device:
    """`bandwidth` in GB/s, `memory` in GiB, `compute` in tera-operations a second."""
    operations = {kind: TERA * value for kind, value in compute.items()}
    return Device(name, GB * bandwidth, memory << 30, operations, sm, is_jetson, (shows_as,), note=note)


_SUPER = "in a Super mode (25 W or MAXN)"
DEVICES: tuple[Device, ...] = (
    _device("orin-nano", 102, 8, 87, {"fp16": 17}, "orin nano", is_jetson=True, note=f"8 GB, {_SUPER}"),
    _device("orin-nx", 102.4, 16, 87, {"fp16": 19}, "orin nx", is_jetson=True, note=f"16 GB, {_SUPER}"),
    _device("agx-orin", 204.8, 64, 87, {"fp16": 42}, "agx orin", is_jetson=True, note="64 GB, MAXN"),
    _device(
        "thor",
        273,
        128,
        110,
        {"fp16": 260, "fp8": 517, "nvfp4": 1035},
        "thor",
        is_jetson=True,
        note="T5000, MAXN",
    ),
    _device("rtx-4060", 272, 8, 89, {"fp16": 30, "fp8": 60}, "rtx 4060"),
    _device("l4", 300, 24, 89, {"fp16": 121, "fp8": 242}, "nvidia l4"),
    _device("rtx-4090", 1008, 24, 89, {"fp16": 165, "fp8": 330}, "rtx 4090"),
    _device("rtx-5090", 1792, 32, 120, {"fp16": 210, "fp8": 419, "nvfp4": 1676}, "rtx 5090"),
)


def device_named(name: str) -> Device | None:
    """The device of this name."""
    return next((device for device in DEVICES if device.name == name), None)


def detect(root: Path = Path("/")) -> Device | None:
    """The listed device that this machine is or has, by the files in which the kernel shows it."""
    shown = [
        root / "proc/device-tree/model",
        *sorted((root / "proc/driver/nvidia/gpus").glob("*/information")),
    ]
    for file in shown:
        try:
            text = file.read_text(errors="replace").lower()
        except OSError:
            continue
        for device in DEVICES:
            if any(_says(text, words) for words in device.shows_as):
                return device
    return None


def _says(text: str, words: str) -> bool:
    """Whether some line names these words and no other chip that only begins so ("RTX 4060 Ti", "L40S")."""
    for line in text.replace("\0", "\n").splitlines():
        found = line.find(words)
        after = line[found + len(words) :] if found >= 0 else "?"
        if found >= 0 and not after[:1].isalnum() and after.split()[:1] not in (["ti"], ["laptop"], ["d"]):
            return True
    return False


def this_machine(measured: Roofline, memory: int) -> Device:
    """The processor and memory of this machine, as measured here."""
    return Device(
        name="this-machine",
        bandwidth=measured.read_bytes_s,
        memory=memory,
        # ONNX Runtime multiplies in float32 here, whatever the weights are stored as.
        compute={"fp16": 2 * measured.multiply_adds_s},
        sm=0,
        source="measured now",
        note=f"processor, {measured.threads} threads",
    )
