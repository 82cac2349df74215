"""Weights read without PyTorch: the same numbers as PyTorch reads, whatever the file; and one sentence for what is no weights."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from runtime.errors import WeightsError
from runtime.filling.checkpoint import open_checkpoint

State = dict[str, torch.Tensor]


@pytest.fixture
def state() -> State:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(12, 7, generator=generator)
    return {
        "visual.conv1.weight": torch.randn(4, 3, 2, 2, generator=generator),
        "positional_embedding": table[2:9],  # part of a storage
        "text_projection": table.t(),  # and turned
        "half": torch.randn(5, generator=generator).half(),
        "brain": torch.randn(6, generator=generator).bfloat16(),
        "double": torch.randn(3, generator=generator).double(),
        "logit_scale": torch.tensor(4.6),
        "visual.bn1.num_batches_tracked": torch.tensor(3),  # no floats: left out
    }


def check(path: Path, state: State) -> None:
    """A file holds these tensors, bit for bit."""
    tensors = open_checkpoint(path).tensors
    wanted = {name: tensor.float().numpy() for name, tensor in state.items() if tensor.is_floating_point()}
    assert set(tensors) == set(wanted)
    assert tensors.shapes() == {name: values.shape for name, values in wanted.items()}
    for name, values in wanted.items():
        assert tensors[name].dtype == np.float32
        assert np.array_equal(tensors[name], values), name


def test_safetensors(state: State, tmp_path: Path) -> None:
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "w.safetensors")
    check(tmp_path / "w.safetensors", state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        OrderedDict,
        lambda state: {name: nn.Parameter(tensor, requires_grad=tensor.is_floating_point()) for name, tensor in state.items()},
        lambda state: {"state_dict": state, "epoch": 3, "name": "a run"},
        lambda state: {"model": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {**state, "input_resolution": torch.tensor(224), "context_length": torch.tensor(77), "vocab_size": 49408},
    ],
)
def test_archives_of_pytorch(state: State, tmp_path: Path, wrap: Callable[[State], Any]) -> None:
    torch.save(wrap(state), tmp_path / "w.pt")
    check(tmp_path / "w.pt", state)


def test_text_towers_of_their_own_have_plain_names(state: State, tmp_path: Path) -> None:
    torch.save({"text.positional_embedding": state["positional_embedding"], "visual.proj": state["half"]}, tmp_path / "w.bin")
    check(tmp_path / "w.bin", {"positional_embedding": state["positional_embedding"], "visual.proj": state["half"]})


class Scripted(nn.Module):
    """A model within a model, as OpenAI's archives are."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.register_buffer("narrow", torch.randn(5).half())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.visual(pixels)
        return found


def test_torchscript(tmp_path: Path) -> None:
    model = Scripted().eval()
    torch.jit.save(torch.jit.trace(model, torch.zeros(1, 3, 8, 8)), tmp_path / "w.pt")
    assert open_checkpoint(tmp_path / "w.pt").scripted
    check(tmp_path / "w.pt", model.state_dict())


class Trap:
    """An object whose unpickling would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_nothing_that_a_file_names_is_run(state: State, tmp_path: Path) -> None:
    torch.save({**state, "trap": Trap(tmp_path / "sprung")}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"holds more than tensors \(`posix.mkdir`\).*safetensors.torch.save_file"):
        open_checkpoint(tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "torch._utils _rebuild_tensor", "os system", "runtime.filling.torch_file Archive"]
)
def test_the_list_of_names_is_closed(state: State, tmp_path: Path, name: str) -> None:
    torch.save(state, tmp_path / "w.pt")
    replace(tmp_path / "w.pt", b"c" + name.replace(" ", "\n").encode() + b"\n.")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        open_checkpoint(tmp_path / "w.pt")


def replace(path: Path, content: bytes) -> None:
    """Put another pickle into an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, content if name.endswith("data.pkl") else data)


def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(12.0).reshape(3, 4)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        content = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    assert content.count(b"K\x03K\x04\x86") == 1  # the shape
    replace(tmp_path / "w.pt", content.replace(b"K\x03K\x04\x86", b"K\x09K\x04\x86"))
    with pytest.raises(WeightsError, match="reaches beyond its storage"):
        open_checkpoint(tmp_path / "w.pt")


def test_a_whole_pickled_module_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"`torch.nn.modules.linear.Linear`.*safetensors.torch.save_file\(model.state_dict"):
        open_checkpoint(tmp_path / "w.pt")


def legacy(state: State) -> bytes:
    """A file as PyTorch wrote it before 1.6."""
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def archive(state: State) -> bytes:
    """A file as PyTorch writes it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 345678\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda state: b"", "is empty"),
        (lambda state: POINTER, "is a Git LFS pointer"),
        (lambda state: b"\n<!DOCTYPE html><html><head>", "is a web page"),
        (lambda state: b"Entry not found", "is no file of weights"),
        (legacy, "before 1.6.*Convert it"),
        (lambda state: pickle.dumps({"a": 1}), "is a bare pickle"),
        (lambda state: archive(state)[:-300], "is cut short: an archive without its end"),
        (lambda state: safetensors.torch.save({"a": state["half"]})[:-1], r"is cut short: \d+ bytes belong to it, \d+ are there"),
        (lambda state: safetensors.torch.save({"a": state["half"]})[:20], "is cut short"),
        (lambda state: (9).to_bytes(8, "little") + b"{nothing}", "its table of tensors cannot be read"),
        (lambda state: archive({"numbers": [1, 2]}), "holds no tensors by name"),
    ],
)
def test_what_is_no_weights_is_named(tmp_path: Path, state: State, content: Callable[[State], bytes], told: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content(state))
    with pytest.raises(WeightsError, match=told):
        open_checkpoint(path)


def test_another_zip_archive_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as made:
        made.writestr("photos/a.jpg", b"...")
    with pytest.raises(WeightsError, match="a zip archive, but not one of PyTorch's"):
        open_checkpoint(tmp_path / "w.zip")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        open_checkpoint(tmp_path / "nothing.pt")


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.tensor([1.0, float("nan")])}, tmp_path / "w.pt")
    tensors = open_checkpoint(tmp_path / "w.pt").tensors
    with pytest.raises(WeightsError, match="holds NaN or infinity in `a`"):
        tensors["a"]
