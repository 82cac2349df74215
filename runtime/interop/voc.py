"""Pascal VOC's XML: one document per picture."""

from __future__ import annotations

from pathlib import PurePath
from xml.etree import ElementTree as Xml

from runtime.interop.labels import Answers, Labelled, labelled
from runtime.interop.xml_text import add, document


def to_voc(answers: Answers) -> dict[str, str]:
    """File names and their XML. VOC counts pixels from 1, and the last one belongs to the box."""
    return {f"{PurePath(picture.name).stem}.xml": document(_annotation(picture)) for picture in labelled(answers)}


def _annotation(picture: Labelled) -> Xml.Element:
    root = Xml.Element("annotation")
    path = PurePath(picture.name)
    add(root, "folder", path.parent.name)
    add(root, "filename", path.name)
    add(add(root, "source"), "database", "vlscore")
    size = add(root, "size")
    for name, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
        add(size, name, value)
    add(root, "segmented", 0)
    for box in picture.boxes():
        item = add(root, "object")
        for name, text in (("name", box.label), ("pose", "Unspecified"), ("truncated", 0), ("difficult", 0)):
            add(item, name, text)
        add(item, "score", f"{box.score:.4f}")
        x0, y0, x1, y1 = (round(edge) for edge in box.xyxy)
        bounds = add(item, "bndbox")
        for name, value in (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1)):
            add(bounds, name, value)
    return root
