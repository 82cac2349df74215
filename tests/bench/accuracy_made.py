"""Sheets made by hand: two maps that light up the left and the right of a picture."""

from __future__ import annotations

import numpy as np

from bench.accuracy.sheets import Sheet, Truth
from engine.frame import Frame

SIDE = 40
LEFT, RIGHT, NEITHER = 0, 1, 2


def truth(noun: int, x0: int, x1: int) -> Truth:
    """A noun that fills a band of the picture's columns."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, x0:x1] = True
    return Truth(noun, np.array([[x0, 0, x1, SIDE]], np.float64), mask)


def two_halves(picture: int = 0, *truths: Truth) -> Sheet:
    """Noun LEFT is best explained by the map that is bright on the left, RIGHT by the other, NEITHER by none."""
    maps = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 1]]], np.float32).reshape(2, 4)
    return Sheet(
        picture=picture,
        frame=Frame.fit((SIDE, SIDE), SIDE, "squash"),
        maps=4 * maps,
        scaled=maps,
        live=np.array([True, True]),
        scores=np.array([[0.3, 0.1], [0.1, 0.3], [-0.1, 0.0]], np.float32),
        similarity=np.array([0.5, 0.4, 0.1], np.float32),
        classes=np.array([0.5, 0.4, 0.45], np.float32),
        truths=truths or (truth(LEFT, 0, 20), truth(RIGHT, 20, 40)),
        absent=(NEITHER,),
        grid_hw=(2, 2),
    )
