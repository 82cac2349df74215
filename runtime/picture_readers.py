"""Pillow's readers as private copies that ask our own limit of pixels and keep quiet.

As they are, they ask a limit of the whole process, warn, log and print, and all of that belongs to the host application:
it cannot be changed for one call while other threads run. A copy shares Pillow's code and sees other names in it.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from types import FunctionType, SimpleNamespace
from typing import Any

from PIL import Image, ImageFile

# Where each reader lives, and the classes that are copied along because they warn.
READERS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile", "PngStream"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile", "ImageFileDirectory_v2"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "JPEG2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
}
SILENT = logging.Logger("silent", logging.CRITICAL + 1)


class TooLarge(Exception):
    """A reader was about to make room for more pixels than it may."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(size)
        self.size = size


def accepts(kind: str, prefix: bytes) -> bool:
    """Whether a file that begins so is of this kind, and this build of Pillow can read it."""
    module = _module(kind)
    return module is not None and module._accept(prefix) is True


@lru_cache(maxsize=64)
def reader(kind: str, pixels: int) -> Callable[..., ImageFile.ImageFile]:
    """The reader of a kind of file, which raises `TooLarge` before it makes room for more than so many pixels."""

    def check(size: tuple[int, int], **_: object) -> None:
        if max(1, size[0]) * max(1, size[1]) > pixels:
            raise TooLarge(size)

    names: dict[str, Any] = {
        "Image": SimpleNamespace(**{**vars(Image), "_decompression_bomb_check": check}),
        "warnings": SimpleNamespace(warn=lambda *_, **__: None),
        "logger": SILENT,
    }
    module, (_, main, *helpers) = _module(kind), READERS[kind]
    names.update({helper: _copy(getattr(module, helper), names) for helper in helpers})
    copy = _copy(getattr(module, main), names)
    return type(main, (OVERRIDES[kind], copy), {}) if kind in OVERRIDES else copy


def _copy(original: type, names: dict[str, Any]) -> Any:  # noqa: ANN401 - a class that only exists at run time
    seen = {**vars(sys.modules[original.__module__]), **names}
    methods: dict[str, Any] = {}
    for name, method in vars(original).items():
        if isinstance(method, FunctionType):
            copied = FunctionType(method.__code__, seen, name, method.__defaults__, method.__closure__)
            copied.__kwdefaults__ = method.__kwdefaults__
            methods[name] = copied
    return type(original.__name__, (original,), methods)


@cache
def _module(kind: str) -> Any:  # noqa: ANN401
    try:
        return importlib.import_module(f"PIL.{READERS[kind][0]}")
    except ImportError:  # AVIF came with Pillow 11.3
        return None


class Jpeg:
    """Leaves the camera's notes unread: what is needed of them is read elsewhere, without warnings."""

    def _read_dpi_from_exif(self) -> None:
        pass


class Tiff:
    """Leaves the picture as it lies and its further directories unread; who opened it turns it upright."""

    tag_v2: Any

    def _setup(self) -> None:
        super()._setup()  # type: ignore[misc]
        self._size = self._tile_size = (self.tag_v2[256], self.tag_v2[257])

    def load_end(self) -> None:
        pass


class WebP:
    """Lets go of the decoder and its canvases once the first frame is out."""

    def load(self) -> Any:  # noqa: ANN401
        loaded = super().load()  # type: ignore[misc]
        self._decoder = None
        return loaded


OVERRIDES: dict[str, type] = {"JPEG": Jpeg, "TIFF": Tiff, "WEBP": WebP}


class LibTiff:
    """The C library behind compressed TIFFs, which prints what it finds wrong, although Pillow raises it too."""

    lock, users, handler = threading.Lock(), 0, None

    @classmethod
    @contextmanager
    def quiet(cls) -> Iterator[None]:
        """Print nothing meanwhile; the handler that was there is put back by the last of all threads that need quiet."""
        swap = _error_handler()
        with cls.lock:
            cls.users += 1
            if cls.users == 1:
                cls.handler = swap(None)
        try:
            yield
        finally:
            with cls.lock:
                cls.users -= 1
                if cls.users == 0:
                    swap(cls.handler)


@cache
def _error_handler() -> Callable[[Any], Any]:
    """The library's function that takes a new handler and gives the old one."""
    try:
        swap: Any = ctypes.CDLL(vars(Image)["core"].__file__).TIFFSetErrorHandler
    except (AttributeError, OSError, TypeError):  # a build without the library, or with it built in: its lines are seen
        return lambda handler: None
    swap.restype, swap.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    return swap  # type: ignore[no-any-return]
