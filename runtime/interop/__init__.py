"""Answers in the shapes that other tools read. Nothing of theirs is imported until it is asked for.

`answers` is always a mapping from a picture's file name to its answer or answers: `{"street.jpg": [bus, bicycle]}`.
"""

from runtime.interop.coco import to_coco
from runtime.interop.cvat import to_cvat
from runtime.interop.detections import detection_fields, to_supervision
from runtime.interop.files import KINDS, write_labels
from runtime.interop.label_studio import to_label_studio
from runtime.interop.labels import Answers
from runtime.interop.masks import box_masks, class_plane, mask_image
from runtime.interop.pipeline import ZeroShotDetector, pipeline
from runtime.interop.voc import to_voc
from runtime.interop.yolo import to_yolo

__all__ = [
    "KINDS",
    "Answers",
    "ZeroShotDetector",
    "box_masks",
    "class_plane",
    "detection_fields",
    "mask_image",
    "pipeline",
    "to_coco",
    "to_cvat",
    "to_label_studio",
    "to_supervision",
    "to_voc",
    "to_yolo",
    "write_labels",
]
