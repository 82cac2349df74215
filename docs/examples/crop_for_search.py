"""Cut objects out of pictures and describe each by a vector, for a search index.

python crop_for_search.py photos/ index/ "a dog" "a cat"

`index/` then holds the crops, and `index.npz` with their names and CLIP's vectors of length 1: the nearest neighbours of a
vector are the crops with the largest products.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from runtime import Localizer, PictureError
from runtime.drawing import write_picture


def main(folder: str, target: str, *queries: str, model: str | None = None) -> None:
    localizer = Localizer(model, preset="instant")
    Path(target).mkdir(parents=True, exist_ok=True)
    names, vectors = [], []
    for path in sorted(Path(folder).iterdir()):
        try:
            answers = localizer(path, list(queries))
        except PictureError as error:
            print(f"left out: {error}")
            continue
        for number, box in enumerate(box for answer in answers for box in answer):
            x0, y0, x1, y1 = (round(edge) for edge in box.xyxy)
            crop = answers[0].picture[y0:y1, x0:x1]
            name = f"{path.stem}.{number}.jpg"
            write_picture(Path(target, name), crop)
            names.append(name)
            vectors.append(localizer.encode(crop).embedding)
    np.savez(Path(target, "index.npz"), names=np.array(names, dtype=str), vectors=np.array(vectors, dtype=np.float32))
    print(f"{len(names)} objects in {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
