"""CVAT's XML, `CVAT for images 1.1`: one document for a whole task."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from runtime.interop.labels import Answers, labelled, labels_of
from runtime.interop.xml_text import add, clean, document


def to_cvat(answers: Answers) -> str:
    """The XML to upload as annotations of a task that has these pictures and labels."""
    pictures = labelled(answers)
    root = Xml.Element("annotations")
    add(root, "version", "1.1")
    task = add(add(root, "meta"), "task")
    add(task, "size", len(pictures))
    labels = add(task, "labels")
    for label in labels_of(pictures):
        entry = add(labels, "label")
        add(entry, "name", label)
        add(entry, "attributes")
    for number, picture in enumerate(pictures):
        sizes = {"width": str(picture.width), "height": str(picture.height)}
        image = Xml.SubElement(root, "image", {"id": str(number), "name": clean(picture.name), **sizes})
        for box in picture.boxes():
            edges = dict(zip(("xtl", "ytl", "xbr", "ybr"), (f"{edge:.2f}" for edge in box.xyxy), strict=True))
            Xml.SubElement(image, "box", {"label": clean(box.label), "occluded": "0", "source": "auto", **edges, "z_order": "0"})
    return document(root)
