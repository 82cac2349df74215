"""Frames of a video file, sampled at equal distances in time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from runtime.errors import PictureError
from runtime.picture_limits import PictureLimits, check_size
from runtime.pictures import Pixels

MOST_FRAMES = 100_000


def moments(path: str | os.PathLike[str], every_s: float) -> list[float]:
    """Seconds of a video, `every_s` apart, from its first frame on."""
    with Video(path) as video:
        count = max(1, int(np.ceil(round(video.seconds / every_s, 6))))
        if count > MOST_FRAMES:
            raise PictureError(f"`{video.path}` has {count} moments {every_s:g} s apart, and {MOST_FRAMES} are the most")
        return [round(number * every_s, 3) for number in range(count)]


def read_frames(path: str | os.PathLike[str], every_s: float) -> Iterator[tuple[float, Pixels]]:
    """Second and pixels (H, W, 3), RGB, of every sampled frame; raises PictureError where the file is damaged."""
    seconds = moments(path, every_s)
    with Video(path) as video:
        for second in seconds:
            yield second, video.at(second)


def opened_quietly(path: Path) -> cv2.VideoCapture:
    """An open file of OpenCV, which must not print what is wrong with it: that is said once, by us."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(before)


class Video:
    """An open video, read from front to back."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise PictureError(f"`{self.path}` is no file: check the path")
        self.capture = opened_quietly(self.path)
        self.rate = self.capture.get(cv2.CAP_PROP_FPS)
        frames = self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if not self.capture.isOpened() or not self.rate > 0 or not frames > 0:
            raise PictureError(f"`{self.path}` is no video that OpenCV can read; convert it, such as with ffmpeg")
        size = (int(self.capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self.capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        check_size(size, f"`{self.path}`", PictureLimits())
        self.seconds = frames / self.rate
        self.next = 0  # the frame that would be read now

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.capture.release()

    def at(self, second: float) -> Pixels:
        """Pixels (H, W, 3), RGB, of the frame shown at a second, which must not lie before what was read already."""
        wanted = round(second * self.rate)
        # Seeking lands on key frames in some containers; going through the frames is exact, and costs little beside the passes.
        while self.next < wanted and self.capture.grab():
            self.next += 1
        read, frame = self.capture.read() if self.next == wanted else (False, None)
        if not read:
            raise PictureError(f"`{self.path}` is cut short or damaged at {second:g} s")
        self.next += 1
        return np.ascontiguousarray(np.asarray(frame, dtype=np.uint8)[:, :, ::-1])
