"""A checkpoint on disk: what kind of file it is, its tensors under open_clip's names, or one sentence that says what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import WeightsError
from runtime.filling.safe_file import looks_safe, read_safe
from runtime.filling.tensors import Tensors
from runtime.filling.torch_file import LEGACY, read_torch
from runtime.filling.transformers_names import from_transformers, is_transformers

BEGINNING = 512  # bytes to know a file by
PREFIXES = ("module.", "_orig_mod.", "model.", "clip.")  # what wrappers of training put before every name
CONVERT = "`safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'weights.safetensors')`"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by open_clip's names; `scripted` tells an archive as OpenAI published them, trained with QuickGELU."""

    path: Path
    tensors: Tensors
    scripted: bool


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a file of weights, whatever its name ends in."""
    try:
        with path.open("rb") as file:
            start = file.read(BEGINNING)
    except OSError as error:
        raise WeightsError(f"weights `{path}` cannot be read: {error.strerror}") from None
    refuse(path, start)
    if start.startswith(b"PK"):
        found, scripted = read_torch(path)
    elif looks_safe(start):
        found, scripted = read_safe(path), False
    else:
        raise WeightsError(f"`{path}` is no file of weights that is known here: safetensors, or an archive of PyTorch's")
    return Checkpoint(path, plain_names(Tensors(found, path.name)), scripted)


def refuse(path: Path, start: bytes) -> None:
    """Name what is often found in the place of weights."""
    if not start:
        raise WeightsError(f"`{path}` is empty; fetch it again")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"`{path}` is a Git LFS pointer, not the weights themselves: run `git lfs pull`, or download the file")
    if start.lstrip()[:1] == b"<":
        raise WeightsError(f"`{path}` is a web page, not weights: the address leads to a page about the file; download the file")
    if start.startswith(LEGACY):
        raise WeightsError(
            f"`{path}` was written by PyTorch before 1.6, in a form that is not read here. Convert it where PyTorch is at hand: "
            f"{CONVERT}"
        )
    if start[:1] == b"\x80" and not looks_safe(start):
        raise WeightsError(f"`{path}` is a bare pickle, which could run any code and is not read. Where it is trusted: {CONVERT}")


def plain_names(tensors: Tensors) -> Tensors:
    """Bring names to open_clip's plain ones: from those of wrappers, of the `transformers` library, and of its newer models."""
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = tensors.renamed(lambda name, prefix=prefix: name.removeprefix(prefix))  # type: ignore[misc]
    if is_transformers(tensors):
        return from_transformers(tensors)
    return tensors.renamed(lambda name: name.removeprefix("text."))
