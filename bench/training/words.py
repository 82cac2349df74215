"""Teach the text tower to tell the nouns apart before any picture is seen.

Trained together from nothing, both towers first agree on colour alone: the words of things of one colour move
close together and stay there, and no picture tower can then tell those things apart. Texts that point in
well-spread directions give the picture tower clear targets from its first step, so the words are taught first
and held while the picture tower learns.
"""

from __future__ import annotations

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize

from bench.training.loss import one_way
from bench.training.models import embed_tokens, tokenizer
from bench.world.captions import caption, prompt
from bench.world.nouns import nouns

SHARPNESS = 20.0
JOINT = 128


def lesson(rng: np.random.Generator) -> tuple[list[str], Tensor]:
    """Texts and which nouns each of them names, (texts, nouns): every noun once, and some joint captions."""
    count = len(nouns())
    texts = [prompt(rng, noun) for noun in range(count)]
    named = torch.zeros(count + JOINT, count, dtype=torch.bool)
    named[range(count), range(count)] = True
    for row in range(count, count + JOINT):
        held = tuple(int(noun) for noun in rng.permutation(count)[: int(rng.integers(2, 5))])
        words, about = caption(rng, held)
        texts.append(words)
        named[row, list(about)] = True
    return texts, named


def teach_words(model: CLIP, steps: int, seed: int) -> float:
    """Pull every text towards the fixed random directions of the nouns it names; returns the last loss."""
    rng = np.random.default_rng([seed, 77])
    device = model.logit_scale.device
    width = model.text_projection.shape[1]
    directions = normalize(torch.from_numpy(rng.standard_normal((len(nouns()), width))).float(), dim=1).to(device)
    tower = [value for name, value in model.named_parameters() if not name.startswith(("visual.", "logit_scale"))]
    optimiser = torch.optim.AdamW(tower, lr=2e-3, weight_decay=0.0)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    words, loss = tokenizer(), torch.zeros(())
    for _ in range(steps):
        texts, named = lesson(rng)
        named = named.to(device)
        with torch.autocast(device.type, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            embedded = normalize(embed_tokens(model, words(texts).to(device)).float(), dim=1)
        meant = normalize(named.float() @ directions, dim=1)
        nearness = (embedded * meant).sum(dim=1).mean()
        loss = one_way(SHARPNESS * embedded @ directions.T, named) + 1 - nearness
        optimiser.zero_grad(set_to_none=True)
        with sdpa_kernel(SDPBackend.MATH):
            torch.autograd.backward(loss)
        optimiser.step()
        pace.step()
    return float(loss.detach())
