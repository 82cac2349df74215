"""A graph that words go into, so many at a time: of the prompted methods, and of gScoreCAM's choice of maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.manifest import PROMPTED, Manifest
from engine.methods import Method
from runtime.backends.session import Session
from runtime.scene import Floats


@dataclass(frozen=True)
class WordGraph:
    """Runs one picture's stream with any number of texts. Holds neither; safe to share between threads."""

    session: Session
    rows: int  # texts per run

    @classmethod
    def of(cls, method: Method, manifest: Manifest, session: Callable[[str], Session]) -> WordGraph | None:
        """The graph of a method's words, if it has one."""
        name = f"{PROMPTED}{method.name}"
        if name not in manifest.graphs:
            return None
        return cls(session(name), manifest.graphs[name].inputs["texts"][1][0])

    def run(self, stream: Floats, texts: Floats, output: str) -> Floats:
        """An output for every one of texts `(Q, D)`, the last run filled up with zeros."""
        found = []
        for start in range(0, len(texts), self.rows):
            part = np.zeros((self.rows, texts.shape[1]), np.float32)
            part[: len(texts) - start] = texts[start : start + self.rows]
            found.append(self.session.run({"stream": stream, "texts": part})[output][: len(texts) - start])
        return np.concatenate(found)
