"""From an ONNX graph to a TensorRT network: parsed, with every complaint of the parser in one error.

Knows the library's parser and network; does not know what the graph is of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from lineside.engines.errors import EngineError
from lineside.engines.tensorrt.library import Library

_PLUGIN_MISSING = "Plugin not found"
_KERNEL = re.compile(rb'extern "C" __global__[^(]*?(\w+)\(')


class CannotCompile(EngineError):
    """TensorRT refused a graph, or its compiler failed; the message has its own words."""


@dataclass(frozen=True, slots=True)
class MissingPlugin:
    """A node whose operator the library knows neither itself nor as a plugin."""

    node: str
    operator: str


class PluginsMissing(CannotCompile):
    """Nodes that need plugins which are not registered."""

    def __init__(self, missing: Sequence[MissingPlugin]) -> None:
        self.missing = tuple(missing)
        kinds = ", ".join(sorted({one.operator for one in missing}))
        super().__init__(
            f"{len(missing)} nodes need plugins that are not registered ({kinds}): compile with a "
            "TensorRT that "
            "takes ahead-of-time plugins, or take the runtime tensorrt-rtx, which needs none"
        )


class Complaints:
    """What the library said while it worked, kept for the error."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def logger(self, library: Library) -> Any:
        """An ILogger that writes here; the library keeps it for as long as it runs."""
        trt: Any = library.trt
        errors = self.errors

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    errors.append(message.strip())

        return Logger()

    def text(self) -> str:
        """The first few, without those that only say that there is no GPU."""
        said = [one.splitlines()[0] for one in self.errors if "catchCudaError" not in one.split("(")[0]]
        return "; ".join(dict.fromkeys(said[:4])) or "it said no more"


def parse(library: Library, builder: Any, logger: Any, model: bytes) -> Any:
    """The network of a graph. Attention that no fused kernel takes may be decomposed.

    Raises:
        PluginsMissing: naming every node whose operator is unknown.
        CannotCompile: the parser refuses the graph.
    """
    trt: Any = library.trt
    flags = trt.NetworkDefinitionCreationFlag
    wanted = [one for one in ("STRONGLY_TYPED", "PREFER_AOT_PYTHON_PLUGINS") if one in flags.__members__]
    network = builder.create_network(sum(1 << int(flags.__members__[one]) for one in wanted))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        missing = [
            MissingPlugin(one.node_name(), one.node_operator())
            for one in errors
            if _PLUGIN_MISSING in one.desc()
        ]
        if missing:
            raise PluginsMissing(missing)
        said = "; ".join(
            f"{one.node_name()} ({one.node_operator()}): {_line(one.desc())}" for one in errors[:4]
        )
        raise CannotCompile(f"TensorRT's parser refuses the graph: {said or 'it does not say why'}")
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            # Seen as a layer only, until it is told what it is; the graph has no way to say this.
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True
    return network


def layer_counts(network: Any) -> Mapping[str, int]:
    """How many layers of each kind a network has."""
    found: dict[str, int] = {}
    for index in range(network.num_layers):
        kind = str(network.get_layer(index).type).rpartition(".")[2]
        found[kind] = found.get(kind, 0) + 1
    return found


def tensors_of(network: Any) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """(inputs, outputs): name → dtype and shape, −1 for what a profile leaves open."""
    sides = (
        (network.num_inputs, network.get_input),
        (network.num_outputs, network.get_output),
    )
    inputs, outputs = (
        {
            one.name: {"dtype": str(one.dtype).rpartition(".")[2], "shape": list(one.shape)}
            for one in (get(i) for i in range(count))
        }
        for count, get in sides
    )
    return inputs, outputs


def kernels_of(plan: bytes) -> set[str]:
    """Names of the generated kernels whose sources TensorRT-RTX puts into a plan."""
    return {name.decode() for name in _KERNEL.findall(plan)}


def has_plugins(model: onnx.ModelProto) -> bool:
    """Whether a graph has nodes of our own."""
    return any(node.domain == "lineside" for node in model.graph.node)


def _line(text: str) -> str:
    """What is worth reading of an error: not its name, and not that there is no GPU."""
    lines = [one for one in text.strip().splitlines() if "catchCudaError" not in one]
    return lines[-1] if lines else text.strip()
