"""`python -m bench.methods.cams FOLDER BUNDLE`: the packages `grad-cam` and `torchcam` beside ours, same weights and pictures.

They lie in a folder of their own: `pip install --no-deps --target FOLDER grad-cam==1.5.7 torchcam==0.5.0 ttach scikit-learn scipy
matplotlib joblib threadpoolctl contourpy cycler kiwisolver pyparsing python-dateutil six`. The bundle is one of a ResNet with
`grad-cam` and `grad-cam-plus`; a transformer's has `grad-cam` alone. Maps are compared on the grid, each brought to [0, 1].
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bench.accuracy.scored import truths_of
from bench.methods.world import examples
from bench.world.nouns import nouns
from engine.manifest import Manifest
from export.backbones import find_backbone
from export.methods import tag_of
from export.sources import find_source
from export.weights import Loaded, load
from runtime import Localizer, Query
from runtime.bundles import find_bundle, read_manifest
from runtime.preprocess import fit_to_square

PICTURES = 4
NAMES = ("grad-cam", "grad-cam-plus", "score-cam")
Map = NDArray[np.float32]
Ask = Callable[[str, Tensor, int], Map]  # a method's name, a picture `(1, 3, R, R)`, the number of a text


class Logits(nn.Module):
    """A model as classifier: pictures to the cosines with texts, times the model's own scale."""

    def __init__(self, model: Any, texts: Tensor, scale: float) -> None:  # noqa: ANN401 - open_clip's modules carry no types
        super().__init__()
        self.visual, self.texts, self.scale = model.visual, texts, scale

    def forward(self, pictures: Tensor) -> Tensor:
        """Take `(B, 3, R, R)`; give `(B, Q)`."""
        return self.scale * F.normalize(self.visual(pictures), dim=-1) @ self.texts.t()


def by_grad_cam(model: Logits, grid_hw: tuple[int, int]) -> Ask:
    """Maps by jacobgil's `grad-cam`, left on the grid."""
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    made = {"grad-cam": GradCAM, "grad-cam-plus": GradCAMPlusPlus, "score-cam": ScoreCAM}
    vit = hasattr(model.visual, "transformer")
    layer = model.visual.transformer.resblocks[-1].ln_1 if vit else model.visual.layer4

    def on_grid(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].reshape(len(tokens), *grid_hw, -1).permute(0, 3, 1, 2)

    def ask(name: str, picture: Tensor, text: int) -> Map:
        with made[name](model, [layer], on_grid if vit else None) as cam:
            cam.get_target_width_height = lambda _: grid_hw[::-1]
            found: Map = cam(picture, [ClassifierOutputTarget(text)])[0]
        return found

    return ask


def by_torchcam(model: Logits, grid_hw: tuple[int, int]) -> Ask:
    """Maps by `torchcam`, which knows no transformers."""
    from torchcam.methods import GradCAM, GradCAMpp, ScoreCAM

    made = {"grad-cam": GradCAM, "grad-cam-plus": GradCAMpp, "score-cam": ScoreCAM}

    def ask(name: str, picture: Tensor, text: int) -> Map:
        with made[name](model, target_layer=model.visual.layer4) as cam:
            return np.asarray(cam(text, model(picture))[0].reshape(grid_hw).detach(), np.float32)

    return ask


def by_ours(bundle: str, name: str, picture: NDArray[np.uint8], queries: list[str]) -> list[Map]:
    """Maps by the product, with nothing done to them after the method's own formula."""
    localizer = Localizer(bundle, method=name, templates="plain", device="cpu")
    localizer = Localizer(
        localizer.bundle, method=name, templates="plain", device="cpu", spec=localizer.spec.replace(outline="grid")
    )
    return [np.asarray(found.map) for found in localizer.locate(localizer.encode(picture), queries)]


@dataclass(frozen=True)
class Asked:
    """A bundle's model as the packages take it."""

    bundle: str
    manifest: Manifest
    loaded: Loaded
    localizer: Localizer  # for its words

    @classmethod
    def of(cls, bundle: str) -> Asked:
        """The bundle, and the model that it was built from."""
        manifest = read_manifest(find_bundle(bundle))
        backbone = find_backbone(manifest.backbone)
        return cls(
            bundle, manifest, load(backbone, find_source(backbone, tag_of(manifest), None), 0), Localizer(bundle, device="cpu")
        )

    def square(self, pixels: NDArray[np.uint8]) -> Tensor:
        """A picture as the model takes it `(1, 3, R, R)`."""
        image = self.manifest.image
        square, _ = fit_to_square(pixels, image.side, "squash", image.resample, image.mean)
        mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (image.mean, image.std))
        return ((torch.from_numpy(square).permute(2, 0, 1) / 255 - mean) / std)[None]

    def compare(self, scale: float) -> Iterator[tuple[str, float]]:
        """Every question's largest difference, by method and package; scores are cosines times a scale."""
        grid_hw = (self.manifest.maps.height, self.manifest.maps.width)
        packages = (
            {"grad-cam": by_grad_cam} if self.manifest.tower == "vit" else {"grad-cam": by_grad_cam, "torchcam": by_torchcam}
        )
        names = [
            name for name in NAMES if name in self.manifest.methods or (name == "score-cam" and self.manifest.tower == "resnet")
        ]
        for example in examples("val", PICTURES):
            queries = [nouns()[truth.noun] for truth in truths_of(example)]
            texts = torch.from_numpy(self.localizer.text.embed([Query((query,), ("{}",)) for query in queries]))
            model = Logits(self.loaded.model, texts, scale).eval()
            for name in names:
                ours = by_ours(self.bundle, name, example.pixels, queries)
                for package, made in packages.items():
                    ask = made(model, grid_hw)
                    for number, plane in enumerate(ours):
                        theirs = ask(name, self.square(example.pixels), number)
                        yield f"{name:14} {package}", float(np.abs(plane - theirs).max())


def main() -> None:
    """Print the median and the largest difference over the questions."""
    sys.path.append(sys.argv[1])
    asked = Asked.of(sys.argv[2])
    for told, scale in (("cosine", 1.0), ("logit", asked.manifest.logit_scale)):
        found: dict[str, list[float]] = {}
        for what, difference in asked.compare(scale):
            found.setdefault(what, []).append(difference)
        for what, each in found.items():
            print(f"{what:26} {told}: largest {max(each):.2g}, median {np.median(each):.2g}, {len(each)} questions", flush=True)


if __name__ == "__main__":
    main()
