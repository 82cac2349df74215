"""What a build is asked for, in one frozen value, and the hash that tells whether it was built already."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import open_clip

import engine
from engine.spec import DEFAULT, Spec
from export.backbones import Backbone
from export.sources import Source, source_key
from runtime.errors import ArgumentError
from runtime.filling.catalogue import Activation
from runtime.filling.origin import sha256_of

Precision = Literal["fp32", "fp16", "int8", "int8-symmetric"]
PRECISIONS: tuple[str, ...] = Precision.__args__  # type: ignore[attr-defined]
EIGHT_BITS = ("int8", "int8-symmetric")  # for CPUs (U8 activations), and for NVIDIA cards (S8, zero points 0)
MapSource = Literal["query-pca", "key-pca", "value-pca", "qkv-pca", "query", "key", "value", "qkv", "token", "attention"]
MAP_SOURCES: tuple[str, ...] = MapSource.__args__  # type: ignore[attr-defined]
BUILT_WITH = ("torch", "open_clip_torch", "onnx", "onnxscript", "onnxruntime")

PASS_PIXELS = 32 * 224 * 224  # a batch of 32 at CLIP's usual size; larger pictures get smaller batches
LARGEST_BATCH, SLOTS = 32, 2
HALVES = "masked.onnx.weights"  # in half precision, until a graph in eight bits takes their place
LARGE, SMALLER = 64, 4  # from this batch on, a graph of a quarter of it is written too: for `fast`, and for cards that are full
PICTURES = Path(__file__).parent / "pictures"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MOST_PICTURES = 16  # to calibrate on; more hardly widens the ranges


@dataclass(frozen=True)
class BuildOptions:
    """Everything that shapes a bundle besides the model itself."""

    precision: Precision = "fp32"
    batch: int | None = None  # masked passes per run; chosen by the picture's size when not given
    text_batch: int = 1
    spec: Spec = DEFAULT
    seed: int = 0
    activation: Activation | None = None
    map_source: MapSource = "query-pca"  # vision transformers only
    blocks: int = 4
    components: int = 12
    calibrate: str | None = None  # a folder of pictures that int8 is scaled by; the shipped photographs when not given
    retry: bool = False  # keep the masked graph in float32 as well, for batches whose numbers overflow
    compare: int = 32  # masked passes per picture that PyTorch repeats; it is slow, which is why this project exists
    tune: bool = False  # time the masked passes on this machine and take the batch that it likes best
    methods: str = ""  # further methods: `all`, or names with commas between

    def batch_for(self, side: int, count: int) -> int:
        """The number of passes per run: as asked, else what fits the usual memory, never more than there are maps."""
        if self.batch is not None:
            return self.batch
        fitting = max(1, min(LARGEST_BATCH, PASS_PIXELS // side**2, count))
        return 1 << (fitting.bit_length() - 1)


def inputs_hash(backbone: Backbone, source: Source, options: BuildOptions) -> str:
    """Hash of all that a bundle follows from: configuration, weights, options, our own code and the libraries."""
    parts: dict[str, object] = {
        "config": backbone.config,
        "presence": backbone.presence,
        "nouns": backbone.nouns,
        "merges": sha256_of(backbone.merges) if backbone.merges else "",
        "weights": source_key(source, options.seed),
        "quick_gelu": source.quick_gelu,
        "options": {
            **asdict(options),
            "calibrate": pictures_hash(options),
            "spec": [options.spec.mask_align, options.spec.mask_order],
        },
        "code": code_hash(),
        "built_with": versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def pictures_hash(options: BuildOptions) -> str:
    """Hash of the pictures that int8 is calibrated on; nothing for other precisions."""
    if options.precision not in EIGHT_BITS:
        return ""
    digest = hashlib.sha256()
    for path in calibration_pictures(options.calibrate):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def calibration_pictures(folder: str | None) -> list[Path]:
    """The pictures to calibrate on, evenly chosen when there are many; the shipped photographs when no folder is named."""
    searched = PICTURES if folder is None else Path(folder)
    found = sorted(path for path in searched.glob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise ArgumentError(f"`--calibrate {searched}` holds no picture; name a folder of pictures like those that will be asked")
    count = min(len(found), MOST_PICTURES)
    return [found[step * (len(found) - 1) // max(1, count - 1)] for step in range(count)]


def code_hash() -> str:
    """Hash of the rooms that decide what a bundle holds."""
    digest = hashlib.sha256()
    for room in (Path(__file__).parent, Path(str(engine.__file__)).parent):
        for path in sorted(room.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """The versions of the libraries that build a bundle."""
    found = {name: importlib.metadata.version(name) for name in BUILT_WITH[:-1]}
    return {**found, "open_clip": open_clip.__version__}
