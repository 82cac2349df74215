"""ONNX Runtime on an NVIDIA card."""

from runtime.backends.onnx_cuda.backend import OnnxCudaBackend
from runtime.backends.onnx_cuda.options import CudaOptions, read_options

__all__ = ["CudaOptions", "OnnxCudaBackend", "read_options"]
