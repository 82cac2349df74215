"""Native TensorRT on an NVIDIA card."""

from runtime.backends.tensorrt.backend import TensorRTBackend
from runtime.backends.tensorrt.build import EngineOptions

__all__ = ["EngineOptions", "TensorRTBackend"]
