"""The saliency graph on the method's golden numbers, as a module and as the ONNX file that users run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.saliency import normalise
from export.graphs import SaliencyGraph
from export.onnx_files import export_graph, save_graph
from runtime.backends.onnx_cpu import OnnxCpuBackend

MAPS = np.array([[[0, 1], [2, 4]], [[3, 0], [0, 0]], [[0, 0], [0, 2]]], dtype=np.float32)
SCORES, BASE = np.array([0.25, 0.20, 0.30], dtype=np.float32), np.float32(0.20)

Run = Callable[..., tuple[NDArray[np.float32], NDArray[np.float32]]]


@pytest.fixture(params=["module", "onnx"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Call it with scores, base, maps and switches; the embeddings have one dimension, so they are their own cosines."""

    def arrays(scores: NDArray[np.float32], base: float, maps: NDArray[np.float32], **switches: float) -> dict[str, NDArray]:
        found = {"embeddings": scores.reshape(-1, 1), "base": np.full(1, base, np.float32), "maps": maps}
        found["texts"] = np.ones((1, 1), np.float32)
        defaults = {"temperature": 1.0, "combine": 0.0, "contrast": 0.0}
        return {**found, **{name: np.asarray(value, np.float32) for name, value in {**defaults, **switches}.items()}}

    module = SaliencyGraph(1e-7)

    def by_module(*args: object, **switches: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scores, saliency = module(*(torch.from_numpy(value) for value in arrays(*args, **switches).values()))
        return scores.numpy()[0], saliency.numpy()[0]

    def by_onnx(*args: object, **switches: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        inputs = arrays(*args, **switches)
        model = export_graph(module, {k: torch.from_numpy(v) for k, v in inputs.items()}, ("scores", "saliency"))
        save_graph(model, tmp_path / "saliency.onnx", None)
        outputs = OnnxCpuBackend(1).open(tmp_path / "saliency.onnx").run(inputs)
        return outputs["scores"][0], outputs["saliency"][0]

    return by_module if request.param == "module" else by_onnx


def test_the_toy_at_temperature_one(run: Run) -> None:
    scores, saliency = run(SCORES, BASE, MAPS)
    np.testing.assert_allclose(scores, [0.05, 0, 0.10], atol=1e-7)
    np.testing.assert_allclose(saliency, [[0, 0.4875026], [0.9750052, 2.9750052]], atol=1e-6)
    np.testing.assert_allclose(normalise(saliency), [[0, 0.1638661], [0.3277323, 1.0]], atol=1e-6)


def test_the_toy_at_a_low_temperature(run: Run) -> None:
    _, saliency = run(SCORES, BASE, MAPS, temperature=0.01)
    np.testing.assert_allclose(normalise(saliency), [[0, 0.0033242], [0.0066485, 1.0]], atol=1e-6)


def test_nothing_above_the_base_is_a_map_of_zeros(run: Run) -> None:
    scores, saliency = run(SCORES, 0.30, MAPS)
    assert (scores <= 0).all()
    assert not saliency.any()


def test_a_temperature_far_below_the_spread_takes_the_best_map_alone(run: Run) -> None:
    _, saliency = run(SCORES, BASE, MAPS, temperature=1e-6)
    np.testing.assert_allclose(saliency, MAPS[2], atol=1e-6)


def test_masks_are_summed_when_asked(run: Run) -> None:
    _, saliency = run(SCORES, BASE, MAPS, combine=1.0)
    np.testing.assert_allclose(saliency, 0.4875026 * MAPS[0] / 4 + 0.5124974 * MAPS[2] / 2, atol=1e-6)


def test_contrast_takes_away_what_every_query_would_see(run: Run) -> None:
    _, plain = run(SCORES, BASE, MAPS, combine=1.0)
    _, contrasted = run(SCORES, BASE, MAPS, combine=1.0, contrast=1.0)
    common = (MAPS[0] / 4 + MAPS[1] / 3 + MAPS[2] / 2) / 3
    wanted = np.maximum(plain - common * plain.sum() / common.sum(), 0)
    np.testing.assert_allclose(contrasted, wanted, atol=1e-6)
    assert contrasted[0, 0] == 0


def test_constant_maps_add_nothing(run: Run) -> None:
    maps = np.concatenate([MAPS, np.full((1, 2, 2), 5, np.float32)])
    scores = np.append(SCORES, BASE)
    np.testing.assert_allclose(run(scores, BASE, maps)[1], run(SCORES, BASE, MAPS)[1], atol=1e-6)
