"""One picture and one query, by the runtime and by the oracle, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray

from engine.metrics import box_agreement
from engine.spec import Spec
from export.weights import Loaded
from runtime import Localization, Localizer, Scene
from tests import oracle

ROUNDING = 1e-5  # what float32 leaves of a cosine difference


@dataclass(frozen=True)
class Both:
    """What the runtime found and what the oracle found."""

    scene: Scene
    found: Localization
    scores: NDArray[np.float64]  # ours, relative to the base
    wanted: oracle.OraclePicture

    @property
    def wanted_scores(self) -> NDArray[np.float64]:
        """The oracle's scores relative to the base."""
        return self.wanted.scores.double().numpy() - self.wanted.base_score

    def check(self, *, maps: float = 1e-4, scores: float = ROUNDING, grid: float = 1e-4) -> None:
        """Every stage agrees: pixels bit for bit, maps, embeddings, scores, the set that is kept, saliency, boxes."""
        wanted = self.wanted
        largest = float(wanted.maps.abs().max()) or 1.0
        np.testing.assert_allclose(self.scene.maps, wanted.maps.float().numpy(), atol=maps * largest)
        live = oracle.live(wanted.maps).numpy()
        unit = torch.nn.functional.normalize(wanted.embeddings.double(), dim=1).numpy()
        cosines = (unit * self.scene.embeddings).sum(axis=1)
        assert cosines[live].min(initial=1.0) > 1 - 1e-5
        np.testing.assert_allclose(self.scores[live], self.wanted_scores[live], atol=scores)
        sure = live & (np.abs(self.wanted_scores) > scores)
        np.testing.assert_array_equal(self.scores[sure] > 0, self.wanted_scores[sure] > 0)
        assert not (self.scores[~live] > 0).any()
        assert self.found.present == (wanted.grid is not None)
        if wanted.grid is not None:
            np.testing.assert_allclose(self.found.map, wanted.grid.float().numpy(), atol=grid)
        np.testing.assert_allclose(self.found.saliency, wanted.saliency, atol=grid)
        assert box_agreement(self.found.xyxy, wanted.xyxy) > 0.99
        np.testing.assert_allclose(self.found.scores, wanted.box_scores, atol=max(grid, 1e-3))


def both(
    localizer: Localizer,
    loaded: Loaded,
    picture: NDArray[np.uint8],
    query: str = "a cat",
    dtype: torch.dtype = torch.float32,
    read: Callable[[Any, torch.Tensor], torch.Tensor] | None = None,
) -> Both:
    """Run both ways with the localizer's own spec."""
    scene = localizer.encode(picture)
    found = localizer.locate(scene, query)
    text = localizer.text.embed([found_query(query)])
    scores, _ = next(localizer.answerer.scores_and_maps(scene, text))
    with torch.no_grad():
        wanted_text = loaded.model.encode_text(open_clip.tokenize([query]))[0]
    wanted = oracle.locate(loaded.model, picture, wanted_text, oracle_spec(localizer.spec), dtype=dtype, batch=32, read=read)
    return Both(scene, found, scores.astype(np.float64), wanted)


def found_query(text: str):  # noqa: ANN201
    """A plain query."""
    from runtime import Query

    return Query((text,))


def oracle_spec(spec: Spec) -> oracle.OracleSpec:
    """The same switches for the oracle; it knows no margin (these models have none measured) and no other ways to a box."""
    known = {field.name for field in fields(oracle.OracleSpec)}
    return oracle.OracleSpec(**{name: value for name, value in spec.to_dict().items() if name in known})
