"""Which nodes the CUDA provider of an ONNX Runtime has kernels for: one table per release that the `gpu` extra allows.

A table holds, per operator, the versions that its kernels are registered for and the types of its data input.
`python -m tests.export.cuda_kernels BUNDLE...` checks every graph of any bundles, and prints a table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from export.contract import infer

TABLES = {
    path.stem.rpartition("_")[2]: json.loads(path.read_text()) for path in Path(__file__).parent.glob("cuda_kernels_ort_*.json")
}
DATA_INPUT = {"Where": 1}  # of other operators it is the first


def check_bundle(folder: Path) -> list[str]:
    """Every node of a bundle's graphs that no CUDA kernel is there for in some release that the `gpu` extra allows."""
    return [
        f"{path.name}, ONNX Runtime {release}: {fault}"
        for path in sorted(folder.glob("*.onnx"))
        for release, table in TABLES.items()
        for fault in without_kernel(onnx.load(path, load_external_data=False), table)
    ]


def without_kernel(model: onnx.ModelProto, table: dict[str, Any]) -> Iterator[str]:
    """The nodes of a graph that would not run on the card, each with the reason."""
    inferred = infer(model)
    types = {tensor.name: tensor.data_type for tensor in inferred.graph.initializer}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    (opset,) = model.opset_import
    for node in inferred.graph.node:
        kernels = table["kernels"].get(node.op_type, {"versions": [], "types": []})
        version = onnx.defs.get_schema(node.op_type, opset.version, node.domain).since_version
        if not any(matches(version, *span) for span in kernels["versions"]):
            yield f"{node.op_type}-{version}: no kernel, those there are for {kernels['versions']}"
        kind = TensorProto.DataType.Name(types[node.input[DATA_INPUT.get(node.op_type, 0)]]).lower()
        if kernels["types"] != "any" and kind not in kernels["types"]:
            yield f"{node.op_type}-{version}: no kernel for {kind}"


def matches(version: int, first: int, last: int | None) -> bool:
    """ONNX Runtime's own rule: a kernel without a last version is only trusted for the version that it was written for."""
    return version == first or (last is not None and first <= version <= last)


def main(folders: Sequence[str]) -> int:
    """Print a line per bundle, and what has no kernel; 1 where there is anything."""
    print("| bundle | graphs | nodes | without a CUDA kernel |\n|---|---|---|---|")
    faults = []
    for folder in map(Path, folders):
        graphs = [onnx.load(path, load_external_data=False).graph for path in sorted(folder.glob("*.onnx"))]
        found = check_bundle(folder)
        print(f"| {folder.name} | {len(graphs)} | {sum(len(graph.node) for graph in graphs)} | {len(found)} |", flush=True)
        faults += [f"{folder.name}: {fault}" for fault in found]
    print("\n".join(faults), end="")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
