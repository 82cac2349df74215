"""Every figure that the field reports, as pure functions; all are shares from 0 to 1.

Protocols differ in more than a name. `boxes` has the overlap of boxes in both conventions and the rates of the box protocol
(success above 0.5, strictly, by any pair of boxes); `max_box` is MaxBoxAcc, whose boxes are inclusive, on a grid of 224 and
whose success is at least the overlap asked for; `pixels` counts pixels by value and threshold; `segments` is the mean over
classes of a split; `curves` ranks answers.
"""

from engine.metrics.boxes import best_iou, box_agreement, iou

__all__ = ["best_iou", "box_agreement", "iou"]
