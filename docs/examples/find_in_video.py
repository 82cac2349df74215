"""When does a thing appear in a video? One frame per second is looked at.

python find_in_video.py film.mp4 "a dog"
"""

from __future__ import annotations

import sys
from itertools import groupby

import cv2

from runtime import Localizer, read_picture


def main(film: str, query: str, every_s: float = 1.0, model: str | None = None) -> list[tuple[float, float]]:
    localizer = Localizer(model, preset="instant")  # one pass per frame
    video = cv2.VideoCapture(film)
    step = max(1, round(video.get(cv2.CAP_PROP_FPS) * every_s))
    seen: list[tuple[float, bool]] = []
    number = 0
    while video.grab():
        if number % step == 0:
            frame = video.retrieve()[1]
            found = localizer(read_picture(frame, bgr=True), query)  # OpenCV has its colours the other way round
            seen.append((number / step * every_s, found.present and len(found) > 0))
        number += 1
    video.release()
    spans = []
    for present, moments in groupby(seen, key=lambda moment: moment[1]):
        seconds = [second for second, _ in moments]
        if present:
            spans.append((seconds[0], seconds[-1] + every_s))
            print(f"{query}: from {seconds[0]:g} s to {seconds[-1] + every_s:g} s")
    if not spans:
        print(f"{query}: nowhere in {len(seen)} frames")
    return spans


if __name__ == "__main__":
    main(*sys.argv[1:])
