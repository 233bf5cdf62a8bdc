"""Writes all-MiniLM-L6-v2 as an ONNX graph, in float32 or with int8 weights.

`ids` (batch, tokens) -> `vector` (batch, 384), unit rows. All texts of a batch have the same number
of tokens, so there is no mask and no padding: the mean is over every token. Standard operators only
(opset 20), and the same bytes for the same weights.

int8: weights are symmetric per output channel, token embeddings per token. Activations are
quantised in the graph, each row (one token) by its own range, so that a vector does not depend on
what else is in the batch. Weights are stored as unsigned bytes with zero point 128: the kernels for
signed weights saturate in 16 bits on a CPU without VNNI, and a vector would depend on the machine.

    x ~ low + scale * q       low and scale per row, q in 0..255
    x @ W ~ scale * weight_scale * (q @ Wq) + low * sum(W) + bias
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["LAYERS", "WINDOW", "build"]

Array = NDArray[Any]
Weights = Mapping[str, NDArray[np.float32]]

LAYERS = 6
WIDTH = 384
HEADS = 12
HEAD_WIDTH = WIDTH // HEADS
WINDOW = 256
_EPSILON = 1e-12
_GELU_LOW = -0.17  # GELU is nowhere below -0.16998
_OPSET = 20
_IR_VERSION = 9


class _Graph:
    """Nodes and constants in the order they are made; names are numbers, so bytes repeat."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: Array) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def byte(self, value: int) -> str:
        return self.constant(np.array(value, np.uint8))

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, **attributes: object) -> list[str]:
        names = [f"t{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def model(self, vector: str) -> onnx.ModelProto:
        self._nodes.append(helper.make_node("Identity", [vector], ["vector"]))
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])
        out = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", WIDTH])
        graph = helper.make_graph(self._nodes, "all-MiniLM-L6-v2", [ids], [out], self._constants)
        opset = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(
            graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="sentinel"
        )


def build(weights: Weights, *, int8: bool) -> onnx.ModelProto:
    """The graph of these weights (the tensors' published names), checked."""
    graph = _Graph()
    writer = _Writer(graph, weights, int8=int8)
    x = writer.embeddings("ids")
    for layer in range(LAYERS):
        x = writer.layer(x, f"encoder.layer.{layer}")
    mean = graph.op("ReduceMean", x, graph.constant(np.array([1])), keepdims=0)
    model = graph.model(graph.op("LpNormalization", mean, axis=-1, p=2))
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """The parts of a BERT encoder."""

    def __init__(self, graph: _Graph, weights: Weights, *, int8: bool) -> None:
        self._graph = graph
        self._weights = weights
        self._int8 = int8

    def embeddings(self, ids: str) -> str:
        """Token, place and type of each id, normalised: (batch, tokens, width)."""
        graph, weights = self._graph, self._weights
        places = (
            weights["embeddings.position_embeddings.weight"][:WINDOW]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        length = graph.op("Shape", ids, start=1)
        place = graph.op("Slice", graph.constant(places), graph.constant(np.array([0])), length)
        tokens = self._tokens(weights["embeddings.word_embeddings.weight"], ids)
        return self._normalised(graph.op("Add", tokens, place), "embeddings.LayerNorm")

    def layer(self, x: str, name: str) -> str:
        graph = self._graph
        attended = self._dense(
            self._attention(x, f"{name}.attention.self"), [f"{name}.attention.output.dense"]
        )
        x = self._normalised(graph.op("Add", x, attended), f"{name}.attention.output.LayerNorm")
        wide = graph.op("Gelu", self._dense(x, [f"{name}.intermediate.dense"]))
        narrow = self._dense(wide, [f"{name}.output.dense"], low=_GELU_LOW)
        return self._normalised(graph.op("Add", x, narrow), f"{name}.output.LayerNorm")

    def _attention(self, x: str, name: str) -> str:
        graph = self._graph
        parts = [f"{name}.{part}" for part in ("query", "key", "value")]
        split = graph.ops("Split", 3, self._dense(x, parts), axis=-1, num_outputs=3)
        shape = graph.constant(np.array([0, 0, HEADS, HEAD_WIDTH]))
        query, key, value = (graph.op("Reshape", part, shape) for part in split)
        query = graph.op("Transpose", query, perm=[0, 2, 1, 3])
        key = graph.op("Transpose", key, perm=[0, 2, 3, 1])
        value = graph.op("Transpose", value, perm=[0, 2, 1, 3])
        likeness = graph.op("Mul", graph.op("MatMul", query, key), graph.number(HEAD_WIDTH**-0.5))
        seen = graph.op("MatMul", graph.op("Softmax", likeness, axis=-1), value)
        seen = graph.op("Transpose", seen, perm=[0, 2, 1, 3])
        return graph.op("Reshape", seen, graph.constant(np.array([0, 0, WIDTH])))

    def _normalised(self, x: str, name: str) -> str:
        scale = self._graph.constant(self._weights[f"{name}.weight"])
        shift = self._graph.constant(self._weights[f"{name}.bias"])
        return self._graph.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=_EPSILON)

    def _tokens(self, table: NDArray[np.float32], ids: str) -> str:
        graph = self._graph
        if not self._int8:
            return graph.op("Gather", graph.constant(table), ids)
        scales = _scale(table, axis=1)
        rows = np.rint(table / scales).astype(np.int8)
        row = graph.op("Cast", graph.op("Gather", graph.constant(rows), ids), to=TensorProto.FLOAT)
        return graph.op("Mul", row, graph.op("Gather", graph.constant(scales), ids))

    def _dense(self, x: str, names: list[str], *, low: float | None = None) -> str:
        """x @ W + b for the named layers side by side; `low` is a bound of x known beforehand."""
        weights = self._weights
        matrix = np.concatenate([weights[f"{name}.weight"].T for name in names], axis=1)
        bias = np.concatenate([weights[f"{name}.bias"] for name in names])
        if self._int8:
            return self._dense_int8(x, matrix, bias, low)
        graph = self._graph
        product = graph.op("MatMul", x, graph.constant(matrix))
        return graph.op("Add", product, graph.constant(bias))

    def _dense_int8(
        self, x: str, matrix: NDArray[np.float32], bias: NDArray[np.float32], low: float | None
    ) -> str:
        graph = self._graph
        scales = _scale(matrix, axis=0)
        quantised = np.rint(matrix / scales)
        sums = (quantised.sum(axis=0, dtype=np.float64) * scales[0]).astype(np.float32)
        stored = graph.constant((quantised + 128).astype(np.uint8))

        last = graph.constant(np.array([-1]))
        high = graph.op("ReduceMax", x, last, keepdims=1)
        if low is None:
            least = graph.op("ReduceMin", x, last, keepdims=1)
            rest = graph.op(
                "Add", graph.op("Mul", least, graph.constant(sums)), graph.constant(bias)
            )
        else:
            least = graph.number(low)
            rest = graph.constant(bias + np.float32(low) * sums)
        step = graph.op("Mul", graph.op("Sub", high, least), graph.number(1 / 255))
        shares = graph.op("Div", graph.op("Sub", x, least), step)
        zero = graph.byte(0)
        bytes_ = graph.op("QuantizeLinear", shares, graph.number(1), zero)

        middle = graph.byte(128)
        product = graph.op("MatMulInteger", bytes_, stored, zero, middle)
        product = graph.op("Cast", product, to=TensorProto.FLOAT)
        product = graph.op("Mul", product, graph.constant(scales[0]))
        return graph.op("Add", graph.op("Mul", product, step), rest)


def _scale(values: NDArray[np.float32], *, axis: int) -> NDArray[np.float32]:
    """What one step of a byte is worth, along `axis`."""
    largest: NDArray[np.float32] = np.abs(values).max(axis=axis, keepdims=True)
    return largest / np.float32(127)
