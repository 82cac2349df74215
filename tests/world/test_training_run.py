"""Training runs: they learn, stop, go on, and learn from a teacher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.training import run as running
from bench.training.check import exam, top_1
from bench.training.data import Source, Stream
from bench.training.models import build, embed_tokens, load_weights, tokenizer
from bench.training.plot import plot_log
from bench.training.run import Options, Run, schedule
from bench.training.words import teach_words
from bench.world.artwork import Sprites
from bench.world.nouns import nouns


@pytest.fixture(autouse=True)
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "WORD_STEPS", 2)


def options(sprite_file: Path, out: Path, model: str = "demo-rn", teacher: Path | None = None) -> Options:
    return Options(model, sprite_file, out, 4000, 4, 1e-3, 0.05, 0.99, 1, 0, 1.0, False, teacher)


def test_saved_runs_go_on(sprite_file: Path, tmp_path: Path) -> None:
    batch = next(iter(Stream(Source(sprite_file, side=64, batch=4, seed=1))))
    first = Run(options(sprite_file, tmp_path))
    losses = [first.step(batch) for _ in range(3)]
    first.minutes = 2.5
    first.save()
    second = Run(options(sprite_file, tmp_path))
    assert (second.steps, second.minutes) == (3, 2.5)
    assert second.step(batch) == pytest.approx(first.step(batch), abs=0.02)
    assert all(0 < loss < 20 for loss in losses)


def test_a_teacher_gives_its_words(sprite_file: Path, tmp_path: Path) -> None:
    batch = next(iter(Stream(Source(sprite_file, side=64, batch=4, seed=1))))
    teacher = Run(options(sprite_file, tmp_path))
    teacher.save()
    pupil = Run(options(sprite_file, tmp_path / "pupil", "demo-vit", tmp_path / "latest.safetensors"))
    before = pupil.model.token_embedding.weight.clone()
    places = pupil.model.visual.positional_embedding.clone()
    pupil.step(batch)
    pupil.step(batch)
    assert torch.equal(before, pupil.model.token_embedding.weight)
    assert not torch.equal(places, pupil.model.visual.positional_embedding)


def test_words_come_apart() -> None:
    torch.manual_seed(0)
    model = build("demo-rn")
    assert teach_words(model, 12, 1) < 5.5
    with torch.no_grad():
        dog, cat = torch.nn.functional.normalize(embed_tokens(model, tokenizer()(["dog", "cat"])), dim=1)
    assert float(dog @ cat) < 0.9


def test_schedule_warms_up_and_falls() -> None:
    rates = [schedule(steps, progress) for steps, progress in ((0, 0), (200, 0), (900, 0.5), (2000, 1), (2000, 2))]
    assert rates[0] < 0.02
    assert rates[1] == 1
    assert 0.5 < rates[2] < 0.51
    assert rates[3] == rates[4] == pytest.approx(0.01)


def test_accuracy_counts_any_held_noun(sprites: Sprites, sprite_file: Path, tmp_path: Path) -> None:
    Run(options(sprite_file, tmp_path)).save()
    asked = exam(sprites, "pairs", 5, 192)
    assert asked.held.sum(dim=1).tolist() == [2] * 5
    assert asked.held.shape == (5, len(nouns()))
    model = load_weights("demo-rn", tmp_path / "latest.safetensors")
    everything = type(asked)(asked.pixels, torch.ones_like(asked.held))
    assert top_1(model, everything) == 1.0
    assert 0 <= top_1(model, asked) <= 1


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [{"pictures": 1000 * m, "loss": 5 - m, "val": 0.2 * m, "unseen-artwork": 0.1 * m} for m in range(3)]
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    plot_log(tmp_path / "log.jsonl", tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 1000
