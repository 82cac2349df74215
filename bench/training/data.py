"""Endless training batches, drawn while the model trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from open_clip import SimpleTokenizer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from bench.training.augment import vary, veil
from bench.training.models import tokenizer
from bench.world.artwork import Sprites, load_sprites
from bench.world.captions import SINGLE, caption, prompt, single
from bench.world.layout import picture_hw, plan
from bench.world.nouns import nouns
from bench.world.paint import paint
from bench.world.splits import CLOSE, RECIPES, generator

VEILED = 0.08
IN_SIGHT, OUT_OF_SIGHT = 0.5, 0.2  # mean of a veil over an object above or below which its truth is certain
LENGTH = 40  # no caption of the world is longer than this many tokens


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures (b, side, side, 3) uint8, texts (b + v, LENGTH), and which text is right for which picture.

    The first b texts are captions of the pictures, the other v name every noun once. right and unsure are
    (b, b + v); an unsure pair (the thing is half faded out) takes no part in the loss.
    """

    pixels: Tensor
    tokens: Tensor
    right: Tensor
    unsure: Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """What the batches of one training run are made from."""

    sprites: Path
    side: int
    batch: int
    seed: int
    first: int = 0  # pictures already seen by a run that goes on
    close: bool = False  # one object a picture, for the first part of a run


def picture(rng: Generator, sprites: Sprites, side: int, close: bool) -> tuple[NDArray[np.uint8], dict[int, float]]:
    """One training picture (side, side, 3) and how much of each noun it shows is in sight (0 to 1)."""
    recipe = CLOSE if close else RECIPES["train"]
    scene = plan(rng, sprites, recipe, picture_hw(rng, recipe, side * side))
    pixels = vary(rng, paint(rng, sprites, scene, recipe.backgrounds, (side, side)))
    if close or rng.random() >= VEILED:
        return pixels, {item.noun: 1.0 for item in scene.items}
    pixels, kept = veil(rng, pixels)
    seen: dict[int, float] = {}
    for item in scene.items:
        y, x = (centre * side / whole for centre, whole in zip(item.centre_yx, scene.hw, strict=True))
        half_y, half_x = (0.3 * item.size * side / whole for whole in scene.hw)
        window = kept[max(0, int(y - half_y)) : int(y + half_y) + 1, max(0, int(x - half_x)) : int(x + half_x) + 1]
        seen[item.noun] = float(window.mean())
    return pixels, seen


class Stream(IterableDataset[Batch]):
    """Batches without end; every worker draws its own share of the picture numbers."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches from the first unseen picture on."""
        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        source, worker = self._source, get_worker_info()
        sprites = load_sprites(source.sprites)
        words = tokenizer()
        step, place = (worker.num_workers, worker.id) if worker else (1, 0)
        number = source.first // source.batch + place
        while True:
            yield self._batch(sprites, words, number)
            number += step

    def _batch(self, sprites: Sprites, words: SimpleTokenizer, number: int) -> Batch:
        source, drawn, shown, named, texts = self._source, [], [], [], []
        for index in range(number * source.batch, (number + 1) * source.batch):
            rng = generator("train", index, source.seed)
            pixels, seen = picture(rng, sprites, source.side, source.close)
            said, about = caption(rng, tuple(seen))
            drawn.append(pixels)
            shown.append(seen)
            named.append(about)
            texts.append(said)
        everything = range(len(nouns()))
        texts += [prompt(rng, noun) for noun in everything]
        named += [(noun,) for noun in everything]
        right, unsure = agreement(shown, named)
        tokens = words(texts)[:, :LENGTH]
        return Batch(torch.from_numpy(np.stack(drawn)), tokens, torch.from_numpy(right), torch.from_numpy(unsure))


def agreement(shown: list[dict[int, float]], named: list[tuple[int, ...]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which texts are right for which pictures, and which pairs are unsure: two tables (pictures, texts)."""
    sight = np.zeros((len(shown), len(nouns())), np.float32)
    for row, seen in enumerate(shown):
        for noun, share in seen.items():
            sight[row, noun] = share
    least = np.stack([sight[:, list(about)].min(axis=1) for about in named], axis=1)
    return least >= IN_SIGHT, (least > OUT_OF_SIGHT) & (least < IN_SIGHT)


def taught_tokens() -> Tensor:
    """The numbers of all tokens that any caption of the world can hold."""
    texts = [single(noun, template) for noun in nouns() for template in SINGLE]
    # Joint captions add the joining words only.
    texts += ["and , together there are some here look at a an the in of on it is with this"]
    return cast(Tensor, torch.unique(tokenizer()(texts)))


def loader(source: Source, workers: int) -> DataLoader[Batch]:
    """The stream behind worker processes; it yields whole batches."""
    ahead = 4 if workers else None
    return DataLoader(Stream(source), batch_size=None, num_workers=workers, prefetch_factor=ahead)
