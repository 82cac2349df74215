"""What the tests share: small random models and their bundles, made once per session and treated as read-only."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OMP_NUM_THREADS"] = "2"  # read by PyTorch when it is first imported; tests share small machines

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.heads import Head as Switches
from tests import configs

if TYPE_CHECKING:
    from export.backbones import Backbone
    from export.weights import Loaded
    from runtime import Localizer, Scene

# One of the tiny models, by its file's name, and changes to `export.options.BuildOptions`, into a new bundle of that name.
MakeBundle = Callable[..., Path]
PLAIN = (str, int, float, tuple, Switches)  # attributes of a module that its graph follows from


class ExportCache:
    """Exports a module once per content: variants of one bundle mostly share their graphs."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}

    def __call__(self, module: Any, inputs: Any, outputs: tuple[str, ...]) -> Any:
        from export.onnx_files import export_graph

        key = self.key(module, inputs)
        if key not in self.models:
            self.models[key] = export_graph(module, inputs, outputs)
        return copy.deepcopy(self.models[key])  # saving a graph takes its weights out of it

    @staticmethod
    def key(module: Any, inputs: Any) -> str:
        """Everything that a traced graph follows from: structure, switches, weights and shapes."""
        from export.weights import state_digest

        switches = [
            (name, type(part).__name__, sorted((k, str(v)) for k, v in vars(part).items() if isinstance(v, PLAIN)))
            for name, part in module.named_modules()
        ]
        shapes = [(name, tuple(tensor.shape)) for name, tensor in inputs.items()]
        dtype = str(getattr(module, "dtype", ""))
        return hashlib.sha256(repr((switches, shapes, dtype, state_digest(module))).encode()).hexdigest()


@pytest.fixture(autouse=True, scope="session")
def _two_threads() -> Iterator[None]:
    """Builds set PyTorch's threads from this; everything else in the tests does well with two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLSCORE_THREADS", "2")
        yield


@pytest.fixture(autouse=True, scope="session")
def _home_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled graphs and measurements go there, not to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLSCORE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def export_cache() -> ExportCache:
    return ExportCache()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all bundles that the tests build; `tiny-rn.json` and `tiny-vit.json` lie in it."""
    folder = tmp_path_factory.mktemp("bundles")
    configs.write_config(folder / "tiny-rn.json", configs.TINY_RN)
    configs.write_config(folder / "tiny-vit.json", configs.TINY_VIT)
    return folder


@pytest.fixture(scope="session")
def make_bundle(workshop: Path, export_cache: ExportCache) -> MakeBundle:
    """Call it with `tiny-rn` or `tiny-vit`, a name and options: `make_bundle("tiny-rn", "by-seven", batch=7)`.

    The gate then tries one picture only; `thorough=True` has it try them all.
    """

    def make(model: str, name: str, *, thorough: bool = False, **options: Any) -> Path:
        from export import assemble, build, gate
        from export.options import BuildOptions
        from export.sources import find_source

        backbone = tiny_backbone(workshop, model)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(assemble, "export_graph", export_cache)
            if not thorough:
                options = {"compare": 8, **options}
                patch.setattr(gate, "gate_pictures", lambda: [(configs.photo("cat"), "a cat")])
            target = workshop / name
            build.build(backbone, find_source(backbone, "none", None), BuildOptions(**options), target, lambda step: None)
        return target

    return make


def tiny_backbone(workshop: Path, model: str) -> Backbone:
    """The backbone of a configuration in the workshop."""
    from export.backbones import find_backbone

    return find_backbone(str(workshop / f"{model}.json"))


def load_tiny(workshop: Path, model: str) -> Loaded:
    """The open_clip model that a tiny bundle was made from."""
    from export.sources import find_source
    from export.weights import load

    backbone = tiny_backbone(workshop, model)
    return load(backbone, find_source(backbone, "none", None), 0)


@pytest.fixture(scope="session")
def tiny_bundle(make_bundle: MakeBundle) -> Path:
    """A ResNet: 512 maps of 3 x 3, side 96, 64 dimensions, batches of 32."""
    return make_bundle("tiny-rn", "tiny", thorough=True)


@pytest.fixture(scope="session")
def tiny_vit_bundle(make_bundle: MakeBundle) -> Path:
    """A vision transformer: 36 maps of 4 x 4 (12 components of 3 blocks' queries), side 64, batches of 32."""
    return make_bundle("tiny-vit", "tiny-vit", thorough=True)


@pytest.fixture(scope="session")
def tiny_fp16_bundle(make_bundle: MakeBundle) -> Path:
    """The ResNet in half precision."""
    return make_bundle("tiny-rn", "tiny-fp16", thorough=True, precision="fp16")


@pytest.fixture(scope="session")
def loaded(workshop: Path) -> Loaded:
    """The open_clip model behind `tiny_bundle`."""
    return load_tiny(workshop, "tiny-rn")


@pytest.fixture(scope="session")
def loaded_vit(workshop: Path) -> Loaded:
    """The open_clip model behind `tiny_vit_bundle`."""
    return load_tiny(workshop, "tiny-vit")


@pytest.fixture(scope="session")
def tiny_localizer(tiny_bundle: Path) -> Localizer:
    """An open ResNet; it holds no picture, so tests may share it."""
    from runtime import Localizer

    return Localizer(tiny_bundle, device="cpu", threads=2)


def with_methods(bundle: Path, folder: Path, names: str) -> Path:
    """A copy of a tiny bundle, made where its configuration lies, with methods added."""
    from export.methods import extend
    from runtime.bundles import read_manifest

    shutil.copytree(bundle, folder)
    config = folder.parent / f"{read_manifest(folder).backbone}.json"
    extend(folder, names, 0, (str(config), "none", 0), lambda step: None)
    return folder


@pytest.fixture(scope="session")
def tiny_vit_localizer(tiny_vit_bundle: Path) -> Localizer:
    """An open vision transformer: a picture costs 36 passes."""
    from runtime import Localizer

    return Localizer(tiny_vit_bundle, device="cpu", threads=2)


@pytest.fixture(scope="session")
def cat_scene(tiny_localizer: Localizer) -> Scene:
    """The cat, encoded by the ResNet."""
    return tiny_localizer.encode(configs.photo("cat"))


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_bundle` to damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


@pytest.fixture(scope="session")
def photo() -> Callable[[str], NDArray[np.uint8]]:
    """Call it with a name: `photo("cat")` is (H, W, 3) u8."""
    return configs.photo
