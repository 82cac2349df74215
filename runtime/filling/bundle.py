"""Published weights into a bundle: a template filled with a checkpoint's tensors, examined, and put in its place."""

from __future__ import annotations

import hashlib
import lzma
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import runtime
from engine.manifest import ImageInfo, Manifest
from runtime.backends.session import Backend
from runtime.bundles import DEFAULT_MODEL, SHIPPED
from runtime.devices import open_backend
from runtime.errors import DeviceError, WeightsError
from runtime.filling.check import Known, examine
from runtime.filling.checkpoint import Checkpoint
from runtime.filling.fill import write_graphs
from runtime.filling.fit import check_fit
from runtime.filling.methods import with_chosen
from runtime.filling.onnx_writer import DTYPES
from runtime.filling.place import check_free, new_folder, write_manifest
from runtime.filling.template import Template, open_template

TOKENIZER = Path(__file__).with_name("tokenizer.json.xz")
Triple = tuple[float, float, float]
OPENAI_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD: Triple = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Weights:
    """What to fill a template with, and what is known of it."""

    checkpoint: Checkpoint
    template: str
    mean: Triple
    std: Triple
    tag: str
    source: str
    licence: str
    sha256: str
    precision: str = "fp32"
    trained: bool = True  # False: numbers of a test, which need not know anything


def make_bundle(weights: Weights, target: Path, methods: str | None = None) -> Known:
    """Fill, examine and place a bundle; whatever goes wrong, the target is left as it was. See `with_chosen` for methods."""
    template = with_chosen(open_template(weights.template, weights.precision), weights.template, methods)
    check_fit(template.expects, weights.checkpoint.tensors.shapes(), weights.template, weights.checkpoint.path.name)
    check_space(template, target)
    backend = any_backend()
    with new_folder(target) as folder:
        manifest = fill(template, weights, folder, backend)
        write_manifest(folder, manifest)
        known = examine(folder, backend)
        if weights.trained and not known.enough:
            raise WeightsError(
                f"`{weights.tag}` does not know what every trained CLIP knows: {known}. Its numbers are random, or not in the "
                "places where this architecture has them; take another file. To keep it all the same, as a test: `--untrained`"
            )
        content = {**manifest.to_dict(), "parity": {"filled": asdict(known)}}
        write_manifest(folder, Manifest.from_dict(content))
    return known


def fill(template: Template, weights: Weights, folder: Path, backend: Backend) -> Manifest:
    """Write every file of a bundle but the manifest, which is given."""
    tensors, image = weights.checkpoint.tensors, look(template, weights)

    def run(graph: Path, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        return backend.open(graph).run(inputs)

    hashes = write_graphs(template, tensors, image, folder, run)
    for name, data in words().items():
        (folder / name).write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
    content: dict[str, Any] = {
        **template.manifest,
        "image": asdict(image),
        "weights": {
            "tag": weights.tag,
            "source": weights.source,
            "sha256": weights.sha256,
            "licence": weights.licence,
            "trained": weights.trained,
        },
        "logit_scale": float(np.exp(tensors["logit_scale"])),
        "files": {name: {"bytes": (folder / name).stat().st_size, "sha256": found} for name, found in sorted(hashes.items())},
        "built_with": {**template.manifest["built_with"], "filled_by": f"vlscore {runtime.__version__}"},
        "parity": {},
        "inputs_hash": "",
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return Manifest.from_dict(content)


def words() -> dict[str, bytes]:
    """CLIP's own tokenizer, which every model here reads words with, and the prompt templates."""
    return {
        "tokenizer.json": lzma.decompress(TOKENIZER.read_bytes()),
        "templates.json": (SHIPPED / DEFAULT_MODEL / "templates.json").read_bytes(),
    }


def look(template: Template, weights: Weights) -> ImageInfo:
    """How these weights want their pictures."""
    said = template.manifest["image"]
    return ImageInfo(said["side"], weights.mean, weights.std, said["resample"])


def any_backend() -> Backend:
    """What runs graphs here: the cores if they can, since every machine has them, else what there is."""
    try:
        return open_backend("cpu")
    except DeviceError:
        return open_backend("auto")


def check_space(template: Template, target: Path) -> None:
    """Refuse to begin where a bundle might not fit."""
    tensors = {(slot.recipe, slot.kind): slot for graph in template.graphs for slot in graph.slots}
    needed = sum(math.prod(slot.dims) * DTYPES[slot.kind].itemsize for slot in tensors.values())
    check_free(target, needed, "the bundle may take", "VLSCORE_HOME")
