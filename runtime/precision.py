"""Which precision the masked passes run in: the bundle's own, or bfloat16 where asked for and there. Never in silence."""

from __future__ import annotations

from typing import Literal

from engine.records import shown
from engine.spec import Spec
from runtime.backends.session import Backend
from runtime.errors import DeviceError

Precision = Literal["fp32", "bf16", "tf32", "fp16", "int8", "int8-symmetric"]
PRECISIONS = ("fp32", "bf16", "tf32")  # what can be asked of an fp32 bundle
BAKED = ("fp16", "int8", "int8-symmetric")  # what a bundle can be built in besides


def check_built(asked: str | None, built: str) -> None:
    """Refuse a precision that a bundle, built in another one, can run in on no device."""
    known = (*PRECISIONS, *BAKED)
    if asked is not None and not isinstance(asked, str):
        raise DeviceError(f"`precision` must be one of {', '.join(known)}, found {shown(asked)} ({type(asked).__name__})")
    if asked is None or asked == built or (asked in PRECISIONS and built == "fp32"):
        return
    if asked not in known:
        raise DeviceError(f"precision `{asked:.80}` is unknown; choose from {', '.join(known)}, or leave it out")
    if asked in ("bf16", "tf32"):
        raise DeviceError(
            f"asked for precision `{asked}`; found a bundle built in {built}. Cause: only fp32 bundles can run in {asked}. Open "
            "the fp32 bundle, or leave `precision` out"
        )
    raise DeviceError(
        f"asked for precision `{asked}`; found a bundle built in {built}. Cause: {asked} is baked into a bundle when it is "
        f"built. Build one: `python -m export.build --backbone NAME --precision {asked}`, or leave `precision` out"
    )


def choose_precision(asked: str | None, built: str, backend: Backend) -> str:
    """The precision of the masked passes on this backend, for a bundle that was built in a precision."""
    if asked is None or asked == built:
        return built
    if asked not in backend.precisions:
        raise DeviceError(
            f"asked for precision `{asked}` on `{backend.device}`; found {', '.join(backend.precisions)}. Cause: "
            f"{cause(backend, asked)}"
        )
    return asked


def cause(backend: Backend, asked: str) -> str:
    """Why a backend has not that precision, and what to do."""
    if asked == "tf32":
        return 'tf32 is a way of NVIDIA cards. Use `device="cuda"` or `--device cuda`, or leave `precision` out'
    if "tf32" in backend.precisions:
        return "cards run bf16 in no bundle. Build one with `--precision fp16`, or leave `precision` out"
    if backend.device == "cpu":
        return (
            "ONNX Runtime has no bf16 on the CPU. Use OpenVINO: `pip install 'vlscore[openvino]'`, then "
            '`device="openvino"` or `--device openvino`'
        )
    return (
        f"this processor has neither avx512_bf16 nor amx_bf16 ({backend.detail}). Leave `precision` out; "
        "`vlscore doctor` lists what runs here"
    )


def check_base(precision: str, spec: Spec) -> None:
    """Refuse a base that the masked graph cannot make, where that graph rounds otherwise than the image graph does."""
    if spec.base == "black" and precision in ("bf16", "int8", "int8-symmetric"):
        raise DeviceError(
            f"asked for base `black` in {precision}. Cause: the black picture is encoded in float32, and its rounding would "
            "differ from that of the passes it is compared with. Use base `mean`, or precision `fp32`"
        )
