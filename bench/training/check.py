"""Zero-shot accuracy of a model on the splits of the world.

python -m bench.training.check --model demo-rn --weights demo-rn.safetensors --sprites sprites.npz
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor

from bench.training.models import MODELS, embed_tokens, load_weights, side, to_input, tokenizer
from bench.world.artwork import Sprites, load_sprites
from bench.world.captions import with_article
from bench.world.nouns import nouns
from bench.world.splits import RECIPES, example

TEMPLATES = ("an image of a {}.", "a photo of {a}.", "{}")


@dataclass(frozen=True, slots=True)
class Exam:
    """Squashed pictures (n, side, side, 3) of a split and which nouns each holds (n, nouns)."""

    pixels: Tensor
    held: Tensor


def exam(sprites: Sprites, split: str, count: int, side: int, seed: int = 0) -> Exam:
    """Draw the first pictures of a split as a model reads them."""
    drawn, held = [], torch.zeros(count, len(nouns()), dtype=torch.bool)
    for index in range(count):
        one = example(sprites, split, index, seed)
        drawn.append(cv2.resize(one.pixels, (side, side), interpolation=cv2.INTER_AREA))
        for thing in one.things:
            held[index, nouns().index(thing.noun)] = True
    return Exam(torch.from_numpy(np.stack(drawn)), held)


def class_embeddings(model: CLIP) -> Tensor:
    """One unit embedding per noun (nouns, dim), the mean over a few wordings."""
    words, parts = tokenizer(), []
    for template in TEMPLATES:
        tokens = words([template.format(noun, a=with_article(noun)) for noun in nouns()])
        parts.append(torch.nn.functional.normalize(embed_tokens(model, tokens), dim=1))
    return torch.nn.functional.normalize(torch.stack(parts).mean(dim=0), dim=1)


@torch.no_grad()
def top_1(model: CLIP, asked: Exam, batch: int = 100) -> float:
    """The share of pictures whose best noun is one that they hold; the model must be in eval mode."""
    classes = class_embeddings(model)
    hits = 0
    for pixels, held in zip(torch.split(asked.pixels, batch), torch.split(asked.held, batch), strict=True):
        best = (model.encode_image(to_input(pixels)) @ classes.T).argmax(dim=1, keepdim=True)
        hits += int(held.gather(1, best).sum())
    return hits / len(asked.pixels)


def main() -> None:
    """Print the zero-shot accuracy on every split."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--count", type=int, default=500, help="pictures per split")
    chosen = parser.parse_args()
    model, sprites = load_weights(chosen.model, chosen.weights), load_sprites(chosen.sprites)
    for split in RECIPES:
        share = top_1(model, exam(sprites, split, chosen.count, side(model)))
        error = (share * (1 - share) / chosen.count) ** 0.5
        print(f"{split:18s} top-1 {100 * share:5.1f} % +- {100 * error:.1f}", flush=True)


if __name__ == "__main__":
    main()
