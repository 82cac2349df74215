"""What a bundle says about itself: the content of its manifest, checked when it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from engine.errors import VlscoreError
from engine.records import RecordError, from_json, quoted, shown, to_json
from engine.spec import Align, MaskOrder

MANIFEST = "manifest.json"
SCHEMA = 1
MOST = 1e9  # no size of a model comes near
# The last ones where the bundle has them: only ResNets have `instant`, and stand-ins are built for cards.
IMAGE_HALF = ("image", "masked", "instant", "masked-small", "masked-fp32")
INSTANT_OWN = "instant.onnx.weights"
TEXT_GRAPHS = ("text", "text-short", "text-many")  # the last two read short texts: one, or many at once
TEXT_HALF = (*TEXT_GRAPHS, "saliency")
TEXT_FILES = ("tokenizer.json", "templates.json")
DENSE, PROMPTED = "dense-", "prompted-"  # before a method's name: its graph of pictures, and that of words where it has one

# An array that enters or leaves a graph: its dtype and its shape.
Tensor = tuple[str, tuple[int, ...]]


class ManifestError(VlscoreError, ValueError):
    """A manifest is incomplete, contradicts itself, or was written by a newer version."""


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """A graph's file and the arrays it takes and gives, by name."""

    file: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file's size and its hash."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The model's square, and how pixels are brought to it; mean and std are of pixels in [0, 1]."""

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bicubic", "bilinear"]


@dataclass(frozen=True, slots=True)
class MapsInfo:
    """The tapped layer: the image graph gives `raw` maps, of which `count` are made and masked.

    With `groups` 0 the maps are used as they are; else they are reduced to `components` maps per group.
    """

    source: str
    layer: str
    raw: int
    count: int
    height: int
    width: int
    groups: int
    components: int


@dataclass(frozen=True, slots=True)
class WeightsInfo:
    """Where the weights come from and under what licence; `trained` is false for random ones."""

    tag: str
    source: str
    sha256: str
    licence: str
    trained: bool


@dataclass(frozen=True, slots=True)
class MaskInfo:
    """How the masked graph turns a map into a mask."""

    align: Align
    order: MaskOrder
    eps: float


@dataclass(frozen=True, slots=True)
class TextInfo:
    """Tokens per text, and texts per run of the graph that reads whole ones."""

    context: int
    batch: int


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What a bundle holds of a further method: the square that its graph takes, the grid and the sets of features it gives."""

    side: int
    height: int
    width: int
    sets: int  # of features: one, or one for each block
    channels: int  # of what a graph of words starts from; 0 where words are only multiplied with features
    parity: dict[str, float]  # how far the graph is from PyTorch


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything the runtime knows about one model at one precision."""

    schema: int
    backbone: str
    weights: WeightsInfo
    image: ImageInfo
    maps: MapsInfo
    masks: MaskInfo
    text: TextInfo
    dim: int
    logit_scale: float
    batch: int
    slots: int
    precision: str
    opset: int
    graphs: dict[str, GraphInfo]
    files: dict[str, FileInfo]
    built_with: dict[str, str]
    parity: dict[str, object]
    inputs_hash: str
    created: str
    presence: float = 0.0  # the margin over the base that tells present from absent; 0 where it was not measured
    nouns: tuple[str, ...] = ()  # all that a small model was taught; empty where it knows the world
    methods: dict[str, MethodInfo] = field(default_factory=dict)  # those that were added; every bundle has `vl-score`

    def __post_init__(self) -> None:
        """Check that the fields agree with each other; raises `ManifestError`."""
        _check_counts(self)
        _check_files(self)

    @property
    def tower(self) -> Literal["resnet", "vit"]:
        """Which kind of image tower this is."""
        return "resnet" if self.maps.source == "bottleneck" else "vit"

    @property
    def small_batch(self) -> int:
        """Passes per run of the smaller masked graph, for ways that run few, unless a stand-in needs whole batches."""
        small = None if "masked-fp32" in self.graphs else self.graphs.get("masked-small")
        return self.batch if small is None else small.inputs["which"][1][0]

    @property
    def image_files(self) -> tuple[str, ...]:
        """Names of the files that encoding a picture needs."""
        return _files_of(self, IMAGE_HALF)

    @property
    def text_files(self) -> tuple[str, ...]:
        """Names of the files that asking about an encoded picture needs."""
        words = {name for name in TEXT_FILES if name in self.files}
        return tuple(sorted(words.union(_files_of(self, TEXT_HALF))))

    def to_dict(self) -> dict[str, Any]:
        """Give the manifest as plain values that JSON can write."""
        return to_json(self)

    @classmethod
    def from_dict(cls, data: object) -> Manifest:
        """Read what `to_dict` wrote.

        Raises `ManifestError` naming the field that is missing, unknown, of the wrong type or too new.
        """
        _check_schema(data)
        try:
            return from_json(cls, data, "manifest")
        except RecordError as error:
            raise ManifestError(f"{error}; rebuild the bundle with `python -m export.build`") from error


def method_fingerprint(manifest: Manifest, method: str) -> str:
    """Hash what shapes a picture's evidence for a method: its graph, and the weights that it points into."""
    names = sorted({*_files_of(manifest, (f"{DENSE}{method}",)), *_files_of(manifest, ("image",))})
    parts = {name: manifest.files[name].sha256 for name in names}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def fingerprint(manifest: Manifest) -> str:
    """Hash all that shapes an encoded picture; bundles of one fingerprint make interchangeable scenes.

    What the instant graph keeps of the blank picture follows from the other weights, and is rounded as the machine that
    made the bundle rounds: it is left out.
    """
    names = [name for name in manifest.image_files if name != INSTANT_OWN]
    parts = {
        "files": {name: manifest.files[name].sha256 for name in names},
        "image": to_json(manifest.image),
        "maps": to_json(manifest.maps),
        "masks": to_json(manifest.masks),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _files_of(manifest: Manifest, half: tuple[str, ...]) -> tuple[str, ...]:
    graphs = [manifest.graphs[name].file for name in half if name in manifest.graphs]
    # A graph too large for one file keeps its weights next to it, under its own name and a further ending.
    beside = tuple(f"{graph}." for graph in graphs)
    return tuple(sorted(name for name in manifest.files if name in graphs or name.startswith(beside)))


def _check_schema(data: object) -> None:
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ManifestError(f"`manifest.schema` must be a whole number above 0, found {shown(schema)}: no bundle")
    if schema > SCHEMA:
        raise ManifestError(
            f"made by a newer vlscore (schema {shown(schema)}, this one reads {SCHEMA}): update, or rebuild with "
            "`python -m export.build --backbone NAME`"
        )


def _check_counts(manifest: Manifest) -> None:
    maps = manifest.maps
    counts = {
        "dim": manifest.dim,
        "logit_scale": manifest.logit_scale,
        "batch": manifest.batch,
        "slots": manifest.slots,
        "image.side": manifest.image.side,
        "maps.raw": maps.raw,
        "maps.count": maps.count,
        "maps.height": maps.height,
        "maps.width": maps.width,
        "text.context": manifest.text.context,
        "text.batch": manifest.text.batch,
    }
    for method, info in manifest.methods.items():
        sizes = {"side": info.side, "height": info.height, "width": info.width, "sets": info.sets}
        counts |= {f"methods.{method:.80}.{name}": size for name, size in sizes.items()}
    if manifest.presence < 0:
        raise ManifestError(f"`manifest.presence` must be 0 or above, found {manifest.presence}")
    for name, count in counts.items():
        if not 0 < count < MOST:
            raise ManifestError(f"`manifest.{name}` must be above 0 and below {MOST:g}, found {shown(count)}")
    expected = maps.groups * maps.components if maps.groups else maps.raw
    if maps.count != expected:
        raise ManifestError(f"`manifest.maps.count` must be {expected} for these groups, found {maps.count}")


def _check_files(manifest: Manifest) -> None:
    for name in manifest.files:
        path = PurePosixPath(name)
        # A manifest may come from anywhere: it must not make the loader read outside of the bundle.
        if path.is_absolute() or ".." in path.parts or not path.name or "\\" in name or ":" in name:
            raise ManifestError(f"`manifest.files` may only name files inside the bundle, found {name!r}")
    lacking = [graph.file for graph in manifest.graphs.values() if graph.file not in manifest.files]
    if lacking:
        raise ManifestError(f"`manifest.files` must list every graph's file, {quoted(lacking)} not among them")
