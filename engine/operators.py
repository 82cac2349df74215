"""The operators that a bundle's graphs may hold: those that were looked up for every backend, and none that can run for ever."""

from __future__ import annotations

# Written from operator tables, not collected from our graphs: an operator that a new exporter brings must be looked up first.
ARITHMETIC = (
    "Add", "ArgMax", "AveragePool", "Cast", "Clip", "Concat", "Conv", "Div", "Erf", "Expand", "Gather", "GatherND", "Gelu",
    "Gemm", "Greater", "LayerNormalization", "MatMul", "Mul", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Split",
    "Squeeze", "Sub", "TopK", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
REDUCTIONS = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
QUANTISED = ("QuantizeLinear", "DequantizeLinear")
OPERATORS = frozenset((*ARITHMETIC, *REDUCTIONS, *QUANTISED))
