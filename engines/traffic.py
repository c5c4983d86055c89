"""What one token costs by the graph alone: bytes of weights and states that stream by, and multiplications.

Reads a decoder's ONNX file without its weights' values. A table that is only looked up counts as one row, a
mixture of experts as its chosen experts. Knows ONNX; does not know runtimes or machines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from lineside.engines.manifest import OnnxBuild
from lineside.engines.memory import state_bytes

_LOOKUPS = frozenset(("Gather", "GatherBlockQuantized"))
_EXPERTS = frozenset(("MoE", "QMoE"))
_PRODUCTS = frozenset(("MatMul", "Gemm", "MatMulNBits", "MoE", "QMoE"))
# Nodes that hand a weight on as it is, or as what the runtime makes of it once when it loads.
_THROUGH = frozenset(("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"))
_HALF_BYTE = frozenset((TensorProto.INT4, TensorProto.UINT4))
_FLOAT32 = 4


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of one token at a time. `weights`: bytes by how they are held in memory; states read and written.

    `per_past_token`: bytes of the attention's cache read for each token of the past. `multiply_adds` and
    `head_multiply_adds`: of all matrix products, and of the output head alone (once a prefill).
    """

    weights: Mapping[str, int]
    states: int
    per_past_token: int
    multiply_adds: int
    head_multiply_adds: int

    def bytes_at(self, past_tokens: int) -> int:
        """Bytes that stream by for a token with this much past."""
        return sum(self.weights.values()) + self.states + self.per_past_token * (past_tokens + 1)


@dataclass(frozen=True, slots=True)
class _Weight:
    size: int
    numbers: int
    rows: int
    kind: str


def read_traffic(decoder: Path, build: OnnxBuild) -> Traffic:
    """The traffic of a decoder's graph file, and of the states its manifest describes."""
    graph = onnx.load(decoder, load_external_data=False).graph
    weights = {tensor.name: _weight(tensor) for tensor in graph.initializer}
    behind = _names_behind(graph.node, weights)
    users: dict[str, list[Any]] = defaultdict(list)
    for node in graph.node:
        for value in node.input:
            if value in behind and node.op_type not in _THROUGH:
                users[behind[value]].append(node)
    streamed: dict[str, int] = defaultdict(int)
    for name, weight in weights.items():
        streamed[_kind(weight, users[name])] += round(weight.size * _share(weight, users[name]))
    head = _head(graph)
    work = {id(node): _work(node, behind, weights) for node in graph.node if node.op_type in _PRODUCTS}
    fixed, per_token = state_bytes(build)
    return Traffic(
        weights={kind: size for kind, size in sorted(streamed.items()) if size},
        states=2 * fixed,
        per_past_token=per_token,
        multiply_adds=sum(work.values()),
        head_multiply_adds=work.get(id(head), 0),
    )


def _weight(tensor: TensorProto) -> _Weight:
    numbers = prod(tensor.dims)
    kind = TensorProto.DataType.Name(tensor.data_type).lower()
    if tensor.data_type in _HALF_BYTE:
        return _Weight((numbers + 1) // 2, numbers, tensor.dims[0] if tensor.dims else 1, kind)
    item = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        # The runtime's CPU kernels take float32: it unfolds them once, when it loads.
        item, kind = _FLOAT32, "float"
    return _Weight(numbers * item, numbers, tensor.dims[0] if tensor.dims else 1, kind)


def _names_behind(nodes: Iterable[Any], weights: Mapping[str, _Weight]) -> dict[str, str]:
    """Value name → the weight it is, also where it only went through casts and new shapes."""
    behind = {name: name for name in weights}
    for node in nodes:
        if node.op_type in _THROUGH and node.input[0] in behind:
            behind[node.output[0]] = behind[node.input[0]]
    return behind


def _share(weight: _Weight, users: list[Any]) -> float:
    """How much of a weight one token reads."""
    shares = [1.0]
    if users:
        shares = [_share_of(weight, user) for user in users]
    return min(sum(shares), 1.0) if all(share < 1 for share in shares) else 1.0


def _share_of(weight: _Weight, user: Any) -> float:
    if user.op_type in _LOOKUPS:
        return 1 / max(weight.rows, 1)
    if user.op_type in _EXPERTS:
        return min(_number(user, "k", 1) / max(weight.rows, 1), 1.0)
    return 1.0


def _kind(weight: _Weight, users: list[Any]) -> str:
    """How a weight is held: packed integers are named by their bits, not by the bytes they lie in."""
    if weight.kind == "uint8":
        for user in users:
            bits = _number(user, "bits", 0) or _number(user, "expert_weight_bits", 0)
            if bits:
                return f"int{bits}"
    return {"float": "float32"}.get(weight.kind, weight.kind)


def _work(node: Any, behind: Mapping[str, str], weights: Mapping[str, _Weight]) -> int:
    """Multiply-adds of a product with a weight, for one token."""
    if node.op_type == "MatMulNBits":
        return _number(node, "K", 0) * _number(node, "N", 0)
    held = [weights[behind[value]] for value in node.input if value in behind]
    if node.op_type == "QMoE":
        # Packed into bytes; scales and zero points are far smaller and multiply nothing of their own.
        packed = 8 // max(_number(node, "expert_weight_bits", 8), 1)
        whole = sum(one.numbers * packed for one in held if one.kind == "uint8" and one.numbers > 0)
        return round(whole * _share_of(held[0], node)) if held else 0
    if node.op_type == "MoE":
        return round(sum(one.numbers for one in held) * _share_of(held[0], node)) if held else 0
    return max((one.numbers for one in held), default=0)


def _head(graph: Any) -> Any:
    """The product that makes the logits."""
    makers = {output: node for node in graph.node for output in node.output}
    node = makers.get("logits")
    while node is not None and node.op_type not in _PRODUCTS:
        node = makers.get(node.input[0])
    return node


def _number(node: Any, name: str, default: int) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), default)
