"""A Jetson's own matters: its release, the power mode and whether it holds, what it draws, and its decoders.

Read from files alone; neither nvpmodel nor tegrastats is started.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from lineside.daemon.doctor import l4t
from lineside.daemon.doctor.base import Finding, Level, Subject

LEAST = (39, 2)
"""JetPack 7.2: the first whose TensorRT has plugins compiled ahead of time and attention layers on Orin."""
TOLERANCE_HZ = 20_000_000
DECODERS = ("dev/v4l2-nvdec", "dev/nvhost-nvdec", "dev/nvidia0")


class JetsonCheck:
    """Jetson Linux, power mode, rails, over-current, video decoder."""

    name = "jetson"
    needs_settings = False

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding for each matter; one alone where this is no Jetson."""
        root = subject.root
        release = l4t.release(root)
        if release is None:
            yield Finding(self.name, Level.SKIPPED, "no Jetson")
            return
        yield self._release(root, release)
        yield self._power_mode(root)
        yield from self._rails(root)
        yield self._decoder(root)

    def _release(self, root: Path, release: l4t.Release) -> Finding:
        jetpack = f" (JetPack {release.jetpack})" if release.jetpack else ""
        message = f"{l4t.model(root) or 'a Jetson'}, Jetson Linux {release}{jetpack}"
        if release.at_least(*LEAST):
            if importlib.util.find_spec("tensorrt") is None:
                step = "sudo apt install tensorrt, and a virtual environment made with --system-site-packages"
                return Finding(self.name, Level.WARNING, f"{message}; Python finds no TensorRT", step)
            return Finding(self.name, Level.OK, message)
        step = "update to JetPack 7.2 or newer; until then engines run on the processor alone"
        old = "" if release.major > 36 else ": its TensorRT 10.3 has neither attention layers nor our plugins"
        return Finding(self.name, Level.WARNING, f"{message} is too old for compiled engines{old}", step)

    def _power_mode(self, root: Path) -> Finding:
        modes = {mode.number: mode for mode in l4t.power_modes(root)}
        mode = modes.get(number) if (number := l4t.power_mode(root)) is not None else None
        if mode is None:
            step = "sudo nvpmodel -q says which mode is set, sudo nvpmodel -m N sets one"
            return Finding(self.name, Level.WARNING, "the power mode is not known", step)
        folder = l4t.gpu_folder(root)
        most = l4t.hertz(folder / "max_freq") if folder is not None else None
        if mode.gpu_hz is not None and most is not None and abs(most - mode.gpu_hz) > TOLERANCE_HZ:
            # nvpmodel may fail at boot and leave its last word behind.
            return Finding(
                self.name,
                Level.WARNING,
                f"power mode {mode.name} is set and not applied: the graphics clock goes up to "
                f"{most / 1e6:.0f} MHz, not {mode.gpu_hz / 1e6:.0f}",
                f"systemctl status nvpmodel, then sudo nvpmodel -m {mode.number}",
            )
        others = [one for one in modes.values() if slower(mode, one)]
        if others:
            best = max(
                others, key=lambda one: (one.memory_hz is None, one.memory_hz or 0, one.gpu_hz is None)
            )
            step = f"sudo nvpmodel -m {best.number} ({best.name}), if supply and cooling allow it"
            return Finding(self.name, Level.OK, f"power mode {mode.name}; {best.name} would be faster", step)
        return Finding(self.name, Level.OK, f"power mode {mode.name}")

    def _rails(self, root: Path) -> Iterator[Finding]:
        rails = list(l4t.rails(root))
        if rails:
            drawn = ", ".join(f"{rail.name} {rail.watts:.1f} W" for rail in rails)
            alarmed = [rail.name for rail in rails if "crit" in rail.alarms]
            if alarmed:
                step = "use the supply that came with the box, or a lower power mode"
                yield Finding(
                    self.name, Level.FAILED, f"{drawn}; {', '.join(alarmed)} is beyond its limit", step
                )
            else:
                yield Finding(self.name, Level.OK, drawn)
        events = l4t.over_current_events(root)
        if events:
            step = "use a stronger supply or a lower power mode: each event slows the box down"
            yield Finding(
                self.name, Level.WARNING, f"{events} over-current events since it was started", step
            )

    def _decoder(self, root: Path) -> Finding:
        if any((root / node).exists() for node in DECODERS):
            return Finding(self.name, Level.OK, "video is decoded by the chip where a pipeline asks for it")
        step = "install nvidia-l4t-gstreamer; until then streams are decoded by the processor"
        return Finding(self.name, Level.WARNING, "no video decoder of the chip is there", step)


def slower(mode: l4t.PowerMode, other: l4t.PowerMode) -> bool:
    """Whether `mode` limits memory or graphics more than `other`, and neither less."""
    pairs = ((mode.memory_hz, other.memory_hz), (mode.gpu_hz, other.gpu_hz))
    # No limit is the highest of all.
    known = [
        (here if here is not None else 1 << 60, there if there is not None else 1 << 60)
        for here, there in pairs
    ]
    return all(here <= there for here, there in known) and any(here < there for here, there in known)
