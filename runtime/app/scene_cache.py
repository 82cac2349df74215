"""Encoded pictures, kept by what was encoded and how, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.scene import Scene

MOST_BYTES = 512_000_000


@dataclass(frozen=True)
class SceneKey:
    """A picture's hash, and all settings that shape a scene."""

    picture: str
    model: str
    device: str
    preset: str
    method: str
    geometry: str


class SceneCache:
    """Keeps what was asked for last. Safe to share between sessions."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.scenes: OrderedDict[SceneKey, Scene] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: SceneKey) -> Scene | None:
        """A scene, if it is still there."""
        with self.lock:
            if key in self.scenes:
                self.scenes.move_to_end(key)
            return self.scenes.get(key)

    def put(self, key: SceneKey, scene: Scene) -> None:
        """Keep a scene, and let go of those that nobody asked for longest; the newest stays however large it is."""
        with self.lock:
            self.scenes[key] = scene
            self.scenes.move_to_end(key)
            while len(self.scenes) > 1 and sum(map(size_of, self.scenes.values())) > self.most_bytes:
                self.scenes.popitem(last=False)


def size_of(scene: Scene) -> int:
    """Bytes of a scene's arrays."""
    arrays: list[Any] = [value for value in vars(scene).values() if isinstance(value, np.ndarray)]
    return sum(array.nbytes for array in arrays)
