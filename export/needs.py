"""What building needs beside the package; imported before PyTorch is, so that a command without it ends in one line."""

from __future__ import annotations

import importlib.util

NEEDS = ("torch", "open_clip", "onnx", "onnxscript", "safetensors", "filelock")


lacking = [name for name in NEEDS if importlib.util.find_spec(name) is None]
if lacking:
    raise SystemExit(
        f"error: building needs PyTorch and its exporter ({', '.join(lacking)} not found): `pip install torch torchvision "
        "--index-url https://download.pytorch.org/whl/cpu` (the small one, for processors), then `pip install "
        "'vlscore[export]'`. Published weights need none of it: `vlscore models`, `vlscore pull NAME`"
    )
