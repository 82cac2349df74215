"""The nouns of the world as queries, in the wordings that the models were trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.world.captions import with_article
from bench.world.nouns import nouns
from runtime import Localizer, Query

WORLD = "world"  # the name of the wordings below, next to the sets that a bundle has


def ask_nouns(localizer: Localizer, templates: str) -> NDArray[np.float32]:
    """One unit embedding (N, D) per noun, in a set of templates by name or in a sentence with `{}` in it."""
    if templates == WORLD:
        return localizer.text.embed([Query((noun,), wordings(noun)) for noun in nouns()])
    named = localizer.text.named_templates(templates)
    return localizer.text.embed([Query((noun,), named) for noun in nouns()])


def wordings(noun: str) -> tuple[str, ...]:
    """The wordings for zero-shot classification; one of them has the noun's own article."""
    article = with_article(noun).removesuffix(noun)
    return ("an image of a {}.", f"a photo of {article}{{}}.", "{}")
