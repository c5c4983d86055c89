"""Our kernels as plugins of the TensorRT that compiles: defined for one model's sizes and one chip.

Knows which kernels a model's graphs have; `lineside.plugins` knows what they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lineside.engines.config import MoeConfig, TextConfig
from lineside.engines.tensorrt.library import LibraryMissing
from lineside.plugins.gated_delta_net.shapes import operator_for
from lineside.plugins.moe.shapes import combining_variant, routing_variant
from lineside.plugins.operator import Kernel
from lineside.plugins.operators import kernels
from lineside.plugins.ptx.nvrtc import NvrtcMissing, nvrtc
from lineside.plugins.tensorrt import TensorRTMissing, define

_ROUTING = ("moe_route", "moe_group")


@dataclass(frozen=True, slots=True)
class PluginSizes:
    """What kernels are compiled for: width of a head of linear attention, experts and how many are chosen."""

    head: int
    experts: int = 0
    chosen: int = 0


def plugin_sizes(config: TextConfig) -> PluginSizes:
    """A model's."""
    if isinstance(config.mlp, MoeConfig):
        return PluginSizes(config.linear.key_dim, config.mlp.experts, config.mlp.experts_per_token)
    return PluginSizes(config.linear.key_dim)


def kernels_for(sizes: PluginSizes) -> tuple[Kernel, ...]:
    """Every kernel that a model's graphs may have, with the variants for its sizes."""
    found: list[Kernel] = list(operator_for(sizes.head).kernels)
    for kernel in kernels():
        if kernel.name.startswith("gated_delta_net"):
            continue
        if kernel.name.startswith("moe_") and not sizes.experts:
            continue
        if kernel.name in _ROUTING:
            kernel = replace(kernel, variants=(routing_variant(sizes.experts, sizes.chosen),))
        elif kernel.name == "moe_combine":
            kinds = ("float16", "bfloat16")
            kernel = replace(kernel, variants=tuple(combining_variant(kind, sizes.experts) for kind in kinds))
        found.append(kernel)
    return tuple(found)


def define_plugins(sizes: PluginSizes, sm: int) -> None:
    """Makes the kernels known to TensorRT in this process, for one chip.

    Raises:
        LibraryMissing: this TensorRT takes no ahead-of-time plugins, or no NVRTC compiles kernels.
    """
    try:
        nvrtc()  # asked here: TensorRT would hide what its plugins say while it builds
        define(kernels_for(sizes), f"sm_{sm}")
    except (TensorRTMissing, NvrtcMissing) as error:
        raise LibraryMissing(str(error)) from error
