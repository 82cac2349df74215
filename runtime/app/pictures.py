"""The picture of the app: uploaded, pasted, photographed or the example; checked, and told what is wrong with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import streamlit as st

from runtime.app.launch import MOST_MEGABYTES
from runtime.bundles import SHIPPED
from runtime.errors import PictureError
from runtime.picture_limits import PictureLimits
from runtime.pictures import Pixels, read_picture

EXAMPLE = SHIPPED / "demo.jpg"
TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "avif"]
LIMITS = PictureLimits(pixels=50_000_000, seconds=20)  # strangers' files are decoded in a process of their own
VIEW_SIDES = (800, 1200)  # pixels of the long side on the page: small pictures are enlarged, so that labels are crisp


@dataclass(frozen=True)
class Chosen:
    """The picture in use, at its own size and as it is shown."""

    name: str
    digest: str
    pixels: Pixels
    view: Pixels


def choose() -> Chosen | None:
    """Ask for a picture; gives None, with a sentence on the page, where there is none to work with."""
    upload, camera, example = st.tabs(["Upload", "Camera", "Example"])
    with upload:
        given = st.file_uploader(
            f"A picture of up to {MOST_MEGABYTES} MB; drop it here, or paste it with Ctrl+V",
            type=TYPES,
            max_upload_size=MOST_MEGABYTES,
            key="upload",
        )
    with camera:
        on = st.toggle("Use the camera of this device", key="camera_on")
        taken = st.camera_input("Take a picture", key="camera", label_visibility="collapsed") if on else None
    with example:
        st.caption("A guitar, a microphone and a high heel, which the small model that is shipped knows.")
        # By a callback: what follows a button in the script may never be reached, if something else is pressed meanwhile.
        st.button("Take the example", key="example", width="stretch", on_click=remember, args=("use_example",))
    if given is not None or taken is not None:
        st.session_state["use_example"] = False
    source = taken if taken is not None else given
    if source is not None:
        return read_named(source.name, source.getvalue())
    if st.session_state.get("use_example"):
        return read_named(EXAMPLE.name, EXAMPLE.read_bytes())
    return None


def remember(what: str) -> None:
    """Keep what was pressed until it is done."""
    st.session_state[what] = True


def read_named(name: str, data: bytes) -> Chosen | None:
    """A picture from bytes, or a sentence about what is wrong with it."""
    try:
        return read_once(name, data)
    except PictureError as error:
        st.error(str(error), icon=":material/broken_image:")
        return None


@lru_cache(maxsize=8)
def read_once(name: str, data: bytes) -> Chosen:
    """Decode a picture, once for all reruns of the page."""
    pixels = read_picture(data, LIMITS)
    pixels.setflags(write=False)
    return Chosen(name, hashlib.sha256(data).hexdigest()[:32], pixels, fitted(pixels))


def fitted(pixels: Pixels) -> Pixels:
    """The picture as large as the page shows it."""
    long = max(pixels.shape[:2])
    scale = min(max(long, VIEW_SIDES[0]), VIEW_SIDES[1]) / long
    if scale == 1:
        return pixels
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=kernel), dtype=np.uint8)
