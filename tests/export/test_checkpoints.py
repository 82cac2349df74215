"""Local weights files: every kind gives the same model, none may run code, and broken ones are refused."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from export.backbones import Backbone, find_backbone
from export.sources import find_source
from export.weights import load
from runtime.errors import WeightsError
from runtime.filling.origin import sha256_of
from runtime.filling.template import open_template
from tests.configs import TINY_RN, changed, write_config

if TYPE_CHECKING:
    from export.weights import Loaded

State = Mapping[str, Tensor]


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return find_backbone(str(write_config(tmp_path / "tiny.json", TINY_RN)))


@pytest.fixture
def state(loaded: Loaded) -> State:
    return {key: value.clone().contiguous() for key, value in loaded.model.state_dict().items()}


class Holder(nn.Module):
    """A tree of modules that holds a state under its own names, as a scripted model does."""

    def __init__(self, state: State) -> None:
        super().__init__()
        for name in dict.fromkeys(key.partition(".")[0] for key in state if "." in key):
            inside = {key.partition(".")[2]: value for key, value in state.items() if key.startswith(f"{name}.")}
            self.add_module(name, Holder(inside))
        for key, value in state.items():
            if "." not in key:
                self.register_buffer(key, value)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write(kind: str, path: Path, state: State) -> Path:
    """Write a state in one of the forms that are read."""
    path = path / {"safetensors": "w.safetensors", "bin": "w.bin"}.get(kind, "w.pt")
    if kind == "safetensors":
        save_file(dict(state), str(path))
    elif kind == "training":  # what open_clip's own training saves
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    elif kind == "torchscript":
        extra = {"input_resolution": torch.tensor(96), "context_length": torch.tensor(77), "vocab_size": torch.tensor(49408)}
        torch.jit.script(Holder({**state, **extra})).save(str(path))
    else:
        torch.save(dict(state), path)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["safetensors", "pt", "bin", "training", "torchscript"])
def test_every_kind_of_file_gives_the_same_model(kind: str, tmp_path: Path, backbone: Backbone, state: State) -> None:
    path = write(kind, tmp_path, state)
    activation: Any = "quickgelu" if kind == "torchscript" else None
    found = load(backbone, find_source(backbone, str(path), activation), 1)
    loaded_state = found.model.state_dict()
    assert loaded_state.keys() == state.keys()
    numbers = [key for key in state if state[key].is_floating_point()]  # not how many batches were seen while training
    assert all(torch.equal(loaded_state[key], state[key]) for key in numbers)
    assert (found.weights.trained, found.weights.sha256) == (True, sha256_of(path))
    assert str(tmp_path) not in str(found.weights)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_archives_are_openais_and_need_quickgelu(tmp_path: Path, backbone: Backbone, state: State) -> None:
    path = str(write("torchscript", tmp_path, state))
    assert find_source(backbone, path, None).quick_gelu is True
    with pytest.raises(WeightsError, match="an archive of OpenAI's, were trained with QuickGELU, but GELU was asked for"):
        find_source(backbone, path, "gelu")


def test_half_precision_files_are_widened(tmp_path: Path, backbone: Backbone, state: State) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    model = load(backbone, find_source(backbone, str(write("safetensors", tmp_path, half)), None), 0).model
    assert model.visual.conv1.weight.dtype == torch.float32
    assert torch.equal(model.visual.conv1.weight, half["visual.conv1.weight"].float())


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("zip", "holds more than tensors"),
        ("legacy", "PyTorch before 1.6"),
        ("bare", "is a bare pickle"),
        ("posing as torchscript", "holds more than tensors"),
    ],
)
def test_code_in_a_pickle_is_refused_and_not_run(how: str, told: str, tmp_path: Path, backbone: Backbone) -> None:
    path, trace = tmp_path / "w.pt", tmp_path / "it ran"
    evil = {"visual.conv1.weight": Touch(trace)}
    if how == "bare":
        path.write_bytes(pickle.dumps(evil))
    elif how == "posing as torchscript":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {
                "data.pkl": pickle.dumps(evil),
                "code/__torch__.py": b"",
                "constants.pkl": b"",
                "version": b"3\n",
            }.items():
                archive.writestr(f"w/{name}", data)
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(WeightsError, match=told):
        find_source(backbone, str(path), None)
    assert not trace.exists()


def test_the_trap_above_would_have_sprung(tmp_path: Path) -> None:
    torch.save(Touch(tmp_path / "it ran"), tmp_path / "w.pt")
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert (tmp_path / "it ran").exists()


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated_files_are_refused(kind: str, share: float, tmp_path: Path, backbone: Backbone, state: State) -> None:
    path = write(kind, tmp_path, state)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(WeightsError, match="is empty; fetch it again" if share == 0 else "is cut short.*; fetch it again"):
        find_source(backbone, str(path), None)


def test_weights_of_another_model_are_refused(tmp_path: Path, state: State) -> None:
    config = changed(changed(TINY_RN, "embed_dim", 32), "text_cfg/layers", 3)
    other = find_backbone(str(write_config(tmp_path / "other.json", config)))
    path = write("pt", tmp_path, state)
    with pytest.raises(WeightsError, match=r"`w\.pt` is not other: this looks like a ResNet .* text tower of 2 blocks"):
        find_source(other, str(path), None)


@pytest.mark.parametrize("change", ["missing", "surplus"])
def test_every_tensor_must_have_its_place(change: str, tmp_path: Path, backbone: Backbone, state: State) -> None:
    wrong = {key: value for key, value in state.items() if key != "ln_final.bias"}
    if change == "surplus":
        wrong = {**state, "head.weight": torch.zeros(2)}
    told = (
        "`w.pt` does not fit tiny: it lacks `ln_final.bias` (1 of" if change == "missing" else "`w.pt` holds `head.weight`, for"
    )
    with pytest.raises(WeightsError, match=re.escape(told)):
        find_source(backbone, str(write("pt", tmp_path, wrong)), None)


def test_a_published_model_in_the_place_of_another_is_recognised(tmp_path: Path, backbone: Backbone) -> None:
    shapes = open_template("RN50-quickgelu").expects
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"`w\.safetensors` is not ViT-B-16: this looks like a RN50-quickgelu"):
        find_source(find_backbone("ViT-B-16"), str(tmp_path / "w.safetensors"), None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_a_number_is_refused(value: float, tmp_path: Path, backbone: Backbone, state: State) -> None:
    broken = dict(state)
    broken["visual.layer4.0.conv3.weight"].view(-1)[7] = value
    path = write("safetensors", tmp_path, broken)
    with pytest.raises(WeightsError, match=r"NaN or infinity in `visual\.layer4\.0\.conv3\.weight`"):
        load(backbone, find_source(backbone, str(path), None), 0)
