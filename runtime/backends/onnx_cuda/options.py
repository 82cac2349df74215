"""What can be asked of CUDA besides the card, and how it is passed to ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engine.records import RecordError, check_fields, from_json
from runtime.backends.graph_hash import graph_hash
from runtime.bundles import bundle_home
from runtime.errors import DeviceError

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
CACHE = ".onnx-tensorrt"  # in the folder of bundles: engines that ONNX Runtime's TensorRT provider built
Provider = tuple[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class CudaOptions:
    """How a card is used. `tf32` rounds float32 products to 10 bits, so it is off until asked for."""

    index: int = 0
    provider: Literal["cuda", "tensorrt"] = "cuda"
    nhwc: bool = True  # channels last: cuDNN's fast convolutions
    tf32: bool = False
    fuse_conv_bias: bool = False  # cuDNN adds the bias within its convolutions; it compiles them when a graph is opened
    search: Literal["exhaustive", "heuristic", "default"] = "exhaustive"  # of convolutions; shapes are fixed, so once is enough
    max_workspace: bool = True
    memory_limit: int = 0  # bytes of ONNX Runtime's arena; 0: all there is
    arena: Literal["same", "double"] = "same"  # grow by what is asked for, or by doubling

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self)
        if self.index < 0 or self.memory_limit < 0:
            raise RecordError("`index` and `memory_limit` must be 0 or more")

    def providers(self, graph: Path | None) -> list[Provider]:
        """The providers to list, the wanted one first; never the CPU's."""
        cuda = {
            "device_id": str(self.index),
            "prefer_nhwc": switch(self.nhwc),
            "use_tf32": switch(self.tf32),
            "fuse_conv_bias": switch(self.fuse_conv_bias),
            "cudnn_conv_algo_search": self.search.upper(),
            "cudnn_conv_use_max_workspace": switch(self.max_workspace),
            "arena_extend_strategy": "kSameAsRequested" if self.arena == "same" else "kNextPowerOfTwo",
            "do_copy_in_default_stream": "1",
        }
        if self.memory_limit:
            cuda["gpu_mem_limit"] = str(self.memory_limit)
        listed: list[Provider] = [(CUDA, cuda)]
        return [(TENSORRT, self.tensorrt(graph)), *listed] if self.provider == "tensorrt" else listed

    def tensorrt(self, graph: Path | None) -> dict[str, str]:
        """Options of the TensorRT provider. Its own cache names ignore the weights, so ours are hashed into the prefix."""
        options = {"device_id": str(self.index)}
        if graph is None:
            return options
        folder = bundle_home() / CACHE
        folder.mkdir(parents=True, exist_ok=True)
        cache = {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(folder),
            "trt_engine_cache_prefix": graph_hash(graph)[:32],
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(folder),
        }
        return options | cache

    def wanted(self) -> str:
        """The provider that must come first in every session."""
        return TENSORRT if self.provider == "tensorrt" else CUDA


def read_options(given: Mapping[str, Any] | None, index: int) -> CudaOptions:
    """Check what a user gave as `device_options`; the card's index belongs to the device's name."""
    try:
        options = from_json(CudaOptions, dict(given or {}), "device_options")
    except RecordError as error:
        raise DeviceError(f"asked for `cuda` with options that it does not have: {error}") from error
    if given and "index" in given and options.index != index:
        raise DeviceError(
            f"asked for card {index} by the device and for card {options.index} by `device_options`; give it once: "
            f'`device="cuda:{options.index}"`'
        )
    return replace(options, index=index)


def switch(on: bool) -> str:
    """A switch as ONNX Runtime reads it."""
    return "1" if on else "0"
