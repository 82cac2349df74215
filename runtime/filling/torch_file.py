"""Reading PyTorch's zip archives (`.pt`, `.pth`, `.bin`) without PyTorch, and without running anything that they say.

Such an archive holds the raw numbers, and a pickle that tells names and shapes. Pickles may call any function that they name:
here they may name a closed list, of stand-ins that build records and nothing else. Whatever else is named is refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from runtime.errors import WeightsError
from runtime.filling.tensors import FLOATS, Bytes, Tensor

STORAGES = {"FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "DoubleStorage": "F64"}
OTHER_STORAGES = ("LongStorage", "IntStorage", "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage")
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how files of `torch.save` began before they were archives
DEEPEST = 64  # modules within modules


class Whole:
    """A module of a TorchScript archive: what it is made of, by name."""

    parts: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: object) -> None:
        self.parts = state if isinstance(state, dict) else {}


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the archive."""

    kind: str
    key: str
    count: int


class Reader(pickle.Unpickler):
    """An unpickler to which only tensors, dictionaries and TorchScript's modules mean anything."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(io.BytesIO(archive.member("data.pkl").tobytes()))
        self.archive = archive
        self.path = archive.path

    def find_class(self, module: str, name: str) -> object:
        """Give the stand-in for a name of the closed list; each reader has its own, which nothing it reads can change."""
        if module == "torch" and name in STORAGES:
            return Named(STORAGES[name])
        if module == "torch" and name in OTHER_STORAGES:
            return Named("other")
        if module.startswith("__torch__"):
            return type("Module", (Whole,), {})
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): dict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *told: self.tensor(*told[:4]),
            ("torch._utils", "_rebuild_parameter"): lambda data, *rest: data,
            ("torch", "Size"): tuple,
        }
        if (module, name) not in known:
            self.refuse(f"{module}.{name}")
        return known[module, name]

    def persistent_load(self, told: tuple[object, ...]) -> Storage:
        """A storage, by what the pickle tells of it."""
        word, kind, key, _, count = told
        if word != "storage" or not isinstance(kind, Named):
            self.refuse(str(told))
        return Storage(kind.kind, str(key), int(str(count)))

    def tensor(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
        """A tensor: part of a storage; it must not reach beyond."""
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= storage.count):
            raise ValueError(f"a tensor of shape {shape} reaches beyond its storage")

        def read() -> NDArray[np.generic]:
            dtype = FLOATS[storage.kind]
            numbers = self.archive.member(f"data/{storage.key}").view(dtype)
            if len(numbers) < storage.count:
                raise WeightsError(f"`{self.path}` is damaged: storage {storage.key} is cut short; fetch it again")
            steps = tuple(stride * dtype.itemsize for stride in strides)
            return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)

        return Tensor(tuple(shape), storage.kind, read)

    def refuse(self, what: str) -> NoReturn:
        """Say that the archive holds more than tensors."""
        raise WeightsError(
            f"`{self.path}` holds more than tensors (`{what}`), which is not read, since it could run any code. Where PyTorch "
            "is at hand and the file is trusted, write its tensors alone: "
            "`safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')`"
        )


@dataclass(frozen=True)
class Named:
    """The stand-in for a storage's class."""

    kind: str


class Archive:
    """A zip archive whose members are read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            raise WeightsError(f"`{path}` is cut short: an archive without its end; fetch it again") from None
        names = [name for name in self.zip.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if not names:
            raise WeightsError(f"`{path}` is a zip archive, but not one of PyTorch's: it has no data.pkl")
        self.root = names[0].removesuffix("data.pkl")
        self.scripted = any(name.startswith(f"{self.root}code/") for name in self.zip.namelist())
        self.content: Bytes = np.memmap(path, dtype=np.uint8, mode="r")

    def member(self, name: str) -> Bytes:
        """The bytes of a member."""
        try:
            info = self.zip.getinfo(self.root + name)
        except KeyError:
            raise WeightsError(f"`{self.path}` is damaged: it lacks `{name}`; fetch it again") from None
        if info.compress_type != zipfile.ZIP_STORED:
            return np.frombuffer(self.zip.read(info), np.uint8)
        header = self.content[info.header_offset : info.header_offset + 30].tobytes()
        start = info.header_offset + 30 + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        return self.content[start : start + info.file_size]


def read_torch(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Every tensor of an archive, none of them read yet; and whether it is TorchScript, as OpenAI's are."""
    archive = Archive(path)
    try:
        content = Reader(archive).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise WeightsError(f"`{path}` is damaged: its list of tensors cannot be read ({error}); fetch it again") from None
    found = dict(flatten(content))
    if not found:
        raise WeightsError(f"`{path}` holds no tensors by name; it must be a state dict, or hold one as `state_dict` or `model`")
    return found, archive.scripted


def flatten(content: object) -> list[tuple[str, Tensor]]:
    """The tensors of a state dict, of what holds one as its `state_dict` or `model`, or of a TorchScript module."""
    for _ in range(2):
        for name in ("state_dict", "model"):
            if isinstance(content, dict) and isinstance(content.get(name), dict):
                content = content[name]
    if isinstance(content, Whole):
        return [*inside(content, "", DEEPEST)]
    if isinstance(content, Mapping):
        return [(str(name), tensor) for name, tensor in content.items() if isinstance(tensor, Tensor)]
    return []


def inside(whole: Whole, prefix: str, depth: int) -> list[tuple[str, Tensor]]:
    """The tensors of a module and of the modules in it."""
    found = []
    for name, part in whole.parts.items():
        if isinstance(part, Tensor):
            found.append((f"{prefix}{name}", part))
        elif isinstance(part, Whole) and depth:
            found.extend(inside(part, f"{prefix}{name}.", depth - 1))
    return found
