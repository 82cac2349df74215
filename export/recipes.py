"""Finding recipes by value: from which tensor of a checkpoint, and by which steps, a graph's tensor comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.onnx_files import ExportError
from runtime.filling.recipes import THEN, follow
from runtime.filling.template import Slot

SAMPLED = 64  # numbers that are compared before whole tensors are
LARGEST_GIVEN = 1 << 16  # bytes; a larger tensor that follows from no weight would be a recipe not found
Arrays = dict[str, NDArray[Any]]


class Recipes:
    """Finds where a tensor of a graph comes from, by its bytes."""

    def __init__(self, tensors: Arrays, heads: list[int]) -> None:
        self.tensors, self.heads = tensors, heads
        self.found: dict[tuple[int, np.dtype[Any]], dict[bytes, list[str]]] = {}

    def learn(self, tensors: Arrays) -> None:
        """Know further tensors that graphs may be made of."""
        self.tensors = self.tensors | tensors
        self.found.clear()

    def slot(self, tensor: onnx.TensorProto) -> Slot:
        """The recipe of a graph's tensor, or the tensor itself where it follows from no weight."""
        raw, kind, dims = tensor.raw_data, tensor.data_type, tuple(tensor.dims)
        recipe = self.recipe(np.frombuffer(raw, onnx.helper.tensor_dtype_to_np_dtype(kind)))
        if not recipe and len(raw) > LARGEST_GIVEN:
            raise ExportError(
                f"no recipe gives `{tensor.name}` {dims}; a further step may be needed in runtime/filling/recipes.py"
            )
        return Slot(tensor.name, kind, dims, recipe, b"" if recipe else raw)

    def recipe(self, wanted: NDArray[Any]) -> str:
        """The first recipe that gives these numbers, or nothing."""
        if wanted.dtype.kind != "f" or wanted.size < 2:
            return ""
        key = (wanted.size, wanted.dtype)
        if key not in self.found:
            likely: dict[bytes, list[str]] = {}
            for recipe, value in self.forms(wanted.size):
                likely.setdefault(sample(value, wanted.dtype), []).append(recipe)
            self.found[key] = likely
        for recipe in self.found[key].get(sample(wanted, wanted.dtype), ()):
            if np.array_equal(follow(recipe, self.tensors).astype(wanted.dtype).reshape(-1), wanted):
                return recipe
        return self.scaled(wanted)

    def scaled(self, wanted: NDArray[Any]) -> str:
        """The vector that these numbers are a fixed share of, or nothing; such products are worked out when a graph is traced."""
        for name, tensor in self.tensors.items():
            if tensor.shape != wanted.shape or tensor.dtype.kind != "f" or not tensor[0] or not wanted[0]:
                continue
            share = np.float32(wanted[0] / tensor[0])
            if not np.allclose(tensor * share, wanted, rtol=1e-5, atol=0):
                continue
            near = [share, *(np.nextafter(share, share * np.float32(far)) for far in (0, 2))]
            for step in (f"over {round(1 / share)}", *(f"times {each.item()!r}" for each in near)):
                if np.array_equal(follow(f"{name}{THEN}{step}", self.tensors), wanted):
                    return f"{name}{THEN}{step}"
        return ""

    def forms(self, size: int) -> Iterator[tuple[str, NDArray[Any]]]:
        """Every recipe that gives so many numbers, and what it gives: few steps before many."""
        for name, tensor in self.tensors.items():
            if tensor.dtype.kind != "f":
                continue
            steps = [*same_size(tensor, self.heads)] if tensor.size == size else [*other_size(tensor, size)]
            for recipe in (THEN.join([name, *each]) for each in steps):
                yield recipe, follow(recipe, self.tensors)
            if name.endswith(".running_var"):
                for recipe in self.folded(name.removesuffix(".running_var"), size):
                    yield recipe, follow(recipe, self.tensors)

    def folded(self, norm: str, size: int) -> Iterator[str]:
        """A BatchNorm taken into the convolutions beside it that have its channels."""
        channels, place = self.tensors[f"{norm}.weight"].size, norm.rpartition(".")[0]
        if channels == size:
            yield f"{norm}.bias{THEN}shift {norm}"
        for name, tensor in self.tensors.items():
            beside = name.rpartition(".")[0].rpartition(".")[0] == place
            if beside and tensor.ndim == 4 and len(tensor) == channels and tensor.size == size:
                yield f"{name}{THEN}fold {norm}"


def same_size(tensor: NDArray[Any], heads: list[int]) -> Iterator[list[str]]:
    """Steps that keep every number in its place or turn it: as it is, scaled, turned, turned head by head, or rounded."""
    scales = [[], *([f"times {(len(tensor) // count) ** -0.5!r}"] for count in heads if len(tensor) % count == 0)]
    turns: list[list[str]] = [[]]
    if tensor.ndim == 2:
        turns += [["swap"], *([f"heads {count}", "swap"] for count in heads if len(tensor) % count == 0)]
    yield from ([*scale, *turn] for turn in turns for scale in scales)
    if tensor.ndim == 1:
        yield ["rounded"]


def other_size(tensor: NDArray[Any], size: int) -> Iterator[list[str]]:
    """Steps to the first rows of a table, to copies of a vector, or to a part of it."""
    if tensor.ndim == 2 and size < tensor.size and size % tensor.shape[1] == 0:
        yield [f"rows 0 {size // tensor.shape[1]}"]
    if tensor.ndim == 1 and size % tensor.size == 0:
        yield [f"repeat {size // tensor.size}"]
    if tensor.ndim == 1 and tensor.size % size == 0:
        yield from ([f"rows {start} {start + size}"] for start in range(0, tensor.size, size))


def sample(values: NDArray[Any], kind: np.dtype[Any]) -> bytes:
    """Some of an array's numbers, in the order in which they would be stored: enough to tell random arrays apart."""
    places = np.linspace(0, values.size - 1, SAMPLED).astype(np.intp)
    return values.flat[places].astype(kind).tobytes()
