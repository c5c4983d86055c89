"""Is there a graphics processor, and can the engine use it?"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import onnxruntime as ort

from lineside.daemon.doctor.base import Finding, Level, Subject

NODES = ("dev/nvidia0", "dev/nvhost-gpu", "dev/nvgpu/igpu0/ctrl", "dev/nvmap")
"""Discrete cards, and the Jetsons' own."""


class GpuCheck:
    """Device nodes, the rights to them, and ONNX Runtime's providers."""

    name = "gpu"
    needs_settings = False

    def __init__(self, providers: tuple[str, ...] | None = None) -> None:
        """`providers`: of ONNX Runtime; None for those installed."""
        self._providers = providers

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding."""
        nodes = [subject.root / node for node in NODES if (subject.root / node).exists()]
        if not nodes:
            yield Finding(self.name, Level.SKIPPED, "no NVIDIA device: the engine runs on the processor")
            return
        closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
        if closed:
            step = "add this user to the groups video and render, and log in again"
            yield Finding(self.name, Level.FAILED, f"may not be used: {', '.join(closed)}", step)
            return
        found = self._providers if self._providers is not None else tuple(ort.get_available_providers())
        useful = [name for name in found if name.startswith(("CUDA", "Tensorrt", "NvTensorRt"))]
        if importlib.util.find_spec("tensorrt") is not None:
            useful.append("tensorrt")
        if not useful:
            step = "install lineside with the extra `cuda`, or leave it: the engine runs on the processor"
            yield Finding(
                self.name, Level.WARNING, "an NVIDIA device is there, but nothing that could use it", step
            )
            return
        yield Finding(self.name, Level.OK, f"{nodes[0]}; {', '.join(useful)}")
