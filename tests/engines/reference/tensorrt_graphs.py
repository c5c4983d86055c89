"""The TensorRT graphs of a checkpoint without TensorRT: run by ONNX Runtime, or, with our kernels' nodes, by
ONNX's reference evaluator with each kernel's own reference in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from graph_runner import GraphRunner, Prepared
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from lineside.engines.config import TextConfig
from lineside.engines.graph.dialects.given import whole
from lineside.engines.graph.dialects.tensorrt import TensorRtDialect
from lineside.engines.graph.fed import OURS, FedGraph
from lineside.engines.tensorrt.describe import decoder_graph
from lineside.engines.tensorrt.plugins import kernels_for, plugin_sizes
from lineside.engines.tensorrt.stored_graph import StoredGraph
from lineside.plugins.operator import Kernel

Floats = np.ndarray[Any, Any]
States = dict[str, Floats]
_KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int32": TensorProto.INT32}


@dataclass(frozen=True)
class Speech:
    """How the two decoder graphs are said."""

    step: TensorRtDialect
    prefill: TensorRtDialect


class TensorRtRunner:
    """Both decoder graphs of what `runner` runs, over its weights as they are stored."""

    def __init__(self, runner: GraphRunner, speech: Speech, capacity: int = 96) -> None:
        text = runner.config.text
        source = StoredGraph(runner.files.decoder)
        self.runner = runner
        self.capacity = capacity
        self.kind = np.dtype(speech.step.kind)
        self.embedding = whole(source.table("embed_tokens", (text.vocab_size, text.hidden))).astype(self.kind)
        self._kernels = kernels_for(plugin_sizes(text)) if text.linear.key_dim in (32, 64, 128) else ()
        self.graphs = {
            dialect.call: decoder_graph(dialect, source, None, text, capacity)
            for dialect in (speech.step, speech.prefill)
        }
        self._sessions = {name: self._open(graph.model()) for name, graph in self.graphs.items()}

    def empty_states(self, rows: int = 1) -> States:
        return {
            one.name: np.zeros(
                [
                    rows if axis.dim_param == "B" else axis.dim_value
                    for axis in one.type.tensor_type.shape.dim
                ],
                helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type),
            )
            for one in self.graphs["step"].model().graph.input
            if one.name.startswith("past.")
        }

    def call(self, part: Prepared, past_length: list[int], states: States) -> tuple[Floats, States]:
        """Logits after the last token of each row [B, vocab], and the states that come out."""
        tokens = part.ids.shape[1]
        name = "step" if tokens == 1 else "prefill"
        feeds = {
            "text_embeds": self.embedding[part.ids],
            "image_embeds": part.image_embeds,
            "image_index": part.image_index,
            "rope_cos": part.cos,
            "rope_sin": part.sin,
            "past_length": np.array(past_length, np.int64),
            "logit_positions": np.array([tokens - 1], np.int64),
            **states,
        }
        return self._run(name, feeds)

    def prefill(self, part: Prepared, past_length: list[int], states: States) -> tuple[Floats, States]:
        """The same through the prefill's graph, however few the tokens."""
        tokens = part.ids.shape[1]
        feeds = {
            "text_embeds": self.embedding[part.ids],
            "image_embeds": part.image_embeds,
            "image_index": part.image_index,
            "rope_cos": part.cos,
            "rope_sin": part.sin,
            "past_length": np.array(past_length, np.int64),
            "logit_positions": np.array([tokens - 1], np.int64),
            **states,
        }
        return self._run("prefill", feeds)

    def _run(self, name: str, feeds: States) -> tuple[Floats, States]:
        graph = self.graphs[name].model().graph
        wanted = {one.name for one in graph.input}
        found = self._sessions[name].run(None, {key: value for key, value in feeds.items() if key in wanted})
        named = dict(zip((one.name for one in graph.output), found, strict=True))
        logits = named.pop("logits")[:, 0]
        return logits, {key.replace("present.", "past.", 1): value for key, value in named.items()}

    def _open(self, model: onnx.ModelProto) -> Any:
        if any(node.domain == OURS for node in model.graph.node):
            return ReferenceEvaluator(model, new_ops=[_in_numpy(kernel) for kernel in self._kernels])
        return session_of(model)


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    """A graph on one CPU thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Or it would round activations to 8 bits wherever it finds 4-bit weights.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _in_numpy(kernel: Kernel) -> type[OpRun]:
    """A kernel's node by its reference; it takes exactly the types that the kernel takes."""

    def run(self: Any, *given: Any, variant: str, **others: Any) -> tuple[Any, ...]:
        chosen = next(one for one in kernel.variants if one.name == variant)
        inputs = {}
        for tensor, array in zip(kernel.inputs, given, strict=True):
            wanted = chosen.activation if tensor.dtype == "activation" else tensor.dtype
            travels = "int8" if wanted == "uint8" else wanted
            if str(array.dtype) != travels:
                raise TypeError(f"{kernel.name} takes {tensor.name} as {travels}, not {array.dtype}")
            inputs[tensor.name] = array.view(wanted)
        found = kernel.naive(inputs, chosen)
        return tuple(
            found[one.name].astype(chosen.activation if one.dtype == "activation" else one.dtype)
            for one in kernel.outputs
        )

    return type(kernel.name, (OpRun,), {"op_domain": OURS, "_run": run})


def cut_at_plugins(graph: FedGraph, config: TextConfig) -> onnx.ModelProto:
    """The graph without our nodes: what they give comes in, what they take goes out."""
    model = graph.model()
    ours = [node for node in model.graph.node if node.domain == OURS]
    kept = [node for node in model.graph.node if node.domain != OURS]
    given = {name for node in ours for name in node.output}
    made = {name for node in kept for name in node.output}
    declared = {one.name: one for one in graph.declared}
    used = {name for node in kept for name in node.input}
    inputs = list(model.graph.input)
    for name in sorted(given & used):
        one = declared[name]
        inputs.append(helper.make_tensor_value_info(name, _KINDS[one.kind], list(one.shape)))
    outputs = [one for one in model.graph.output if one.name not in given]
    known = {one.name for one in outputs}
    kernels = {one.name: one for one in kernels_for(plugin_sizes(config))}
    taken = {
        name: "float16" if tensor.dtype == "activation" else tensor.dtype
        for node in ours
        for name, tensor in zip(node.input, kernels[node.op_type].inputs, strict=True)
    }
    for name in sorted(taken.keys() & made - known):
        outputs.append(helper.make_tensor_value_info(name, _KINDS[taken[name]], None))
    still_used = used | {one.name for one in outputs}
    cut = helper.make_graph(
        kept,
        model.graph.name,
        [one for one in inputs if one.name in still_used],
        outputs,
        initializer=model.graph.initializer,
    )
    return helper.make_model(cut, opset_imports=model.opset_import, ir_version=model.ir_version)
