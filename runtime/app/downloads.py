"""What can be taken away: the drawing, the answers, labels and masks, at the picture's own size."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import PurePath

import numpy as np
import streamlit as st
from PIL import Image

from runtime.drawing import draw
from runtime.interop import class_plane, to_coco
from runtime.localization import Localization
from runtime.pictures import Pixels


def png(pixels: Pixels) -> bytes:
    """A PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def offer(name: str, pixels: Pixels, answers: Callable[[], Sequence[Localization]], heat: bool) -> None:
    """Buttons; files are made when they are asked for. Classes of the mask are 1, 2, ... in the order of the questions."""
    stem = PurePath(name).stem or "picture"

    def drawn() -> bytes:
        return png(draw(pixels, list(answers()), heat=heat, masks=not heat, together=not heat))

    def plain() -> str:
        return json.dumps([answer.to_dict() for answer in answers()], indent=1)

    def coco() -> str:
        return json.dumps(to_coco({name: list(answers())}), indent=1)

    def mask() -> bytes:
        return png(np.asarray(class_plane(answers()), dtype=np.uint8))

    files = (
        ("Picture", drawn, f"{stem}.boxes.png", "image/png"),
        ("JSON", plain, f"{stem}.json", "application/json"),
        ("COCO", coco, f"{stem}.coco.json", "application/json"),
        ("Mask", mask, f"{stem}.mask.png", "image/png"),
    )
    with st.container(horizontal=True):
        for label, make, file, mime in files:
            st.download_button(label, make, file, mime, on_click="ignore", icon=":material/download:")
