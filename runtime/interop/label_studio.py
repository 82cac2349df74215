"""Label Studio's tasks with predictions, which people then correct."""

from __future__ import annotations

from typing import Any

from runtime.interop.labels import Answers, Labelled, labelled, labels_of
from runtime.interop.xml_text import clean


def to_label_studio(answers: Answers, *, address: str = "{}", model: str = "vlscore") -> list[dict[str, Any]]:
    """Tasks to import; `address` makes a picture's address from its name, such as `/data/local-files/?d=photos/{}`."""
    return [
        {
            "data": {"image": address.replace("{}", picture.name)},
            "predictions": [
                {
                    "model_version": model,
                    "score": round(max((box.score for box in picture.boxes()), default=0.0), 4),
                    "result": _regions(picture),
                }
            ],
        }
        for picture in labelled(answers)
    ]


def label_studio_config(answers: Answers) -> str:
    """The labelling set-up that fits those tasks."""
    labels = "".join(
        f'<Label value="{clean(label).replace("&", "&amp;").replace("<", "&lt;").replace(chr(34), "&quot;")}"/>'
        for label in labels_of(labelled(answers))
    )
    boxes = f'<RectangleLabels name="label" toName="image">{labels}</RectangleLabels>'
    return f'<View><Image name="image" value="$image"/>{boxes}</View>'


def _regions(picture: Labelled) -> list[dict[str, Any]]:
    regions = []
    for number, box in enumerate(picture.boxes()):
        x0, y0, x1, y1 = box.xyxy
        regions.append(
            {
                "id": f"box{number}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": picture.width,
                "original_height": picture.height,
                "image_rotation": 0,
                "score": round(box.score, 4),
                "value": {  # in hundredths of the picture
                    "x": 100 * x0 / picture.width,
                    "y": 100 * y0 / picture.height,
                    "width": 100 * (x1 - x0) / picture.width,
                    "height": 100 * (y1 - y0) / picture.height,
                    "rotation": 0,
                    "rectanglelabels": [box.label],
                },
            }
        )
    return regions
