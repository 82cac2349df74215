"""Words of every kind: answers, or one QueryError."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from runtime import Query, QueryError
from runtime.drawing import draw
from runtime.text import QueryWarning
from tests.torture.mutation import value
from tests.torture.opened import shipped_model, shipped_scene

REFUSALS = (QueryError,)
PIECES = (
    *("a cat", "dog", " ", "\t", "\n", "\r\n", "{}", "{", "}", "{0}", "%s", "\\", "'", '"', "é", "ß", "İ", "ﬁ", "Å", "e\u0301"),
    *("\0", "\x1b[31m", "\x7f", "\x85", "\u00a0", "\u200b", "\u200d", "\u2028", "\u202e", "\ufeff", "\ufffd", "\uffff"),
    *("&amp;", "&nbsp;", "&lt;", "&#0;", "&#x110000;", "&#xD800;", "&amp;amp;amp;", "&", "&bogus;", "&#99999999999;", "<b>"),
    *("<|startoftext|>", "<|endoftext|>", "</w>", "Ã©", "â€œ", "\ud800", "\udfff", "\udc80", "\U0001f600", "\U0010ffff"),
    *("日本", "한", "กำ", "الع", "नि", "👨‍👩‍👧‍👦", "🇩🇪", "\U0001d573", "Z̸͔͝", "́", "0", "1e400", "None", "../x", "a" * 40),
)
SIZES = (1, 1, 1, 2, 3, 5, 20, 300)
HUGE = (10_000, 100_000)


def case(rng: random.Random) -> Callable[[], None]:
    """Ask odd words in odd ways."""
    kind, asked = rng.randrange(8), things(rng)

    def ask() -> None:
        model, scene = shipped_model(), shipped_scene()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QueryWarning)
            model.text.warned = False
            if kind == 0:
                found = model.locate(scene, Query(asked(), asked()))
            elif kind == 1:
                found = model.locate(scene, [Query(asked(), rng.choice(("{}", asked()))), asked()])
            elif kind == 2:
                found = model.locate(scene, Query("a cat", model.text.named_templates(asked())))
            else:
                found = model.locate(scene, asked())
            answers = found if isinstance(found, list) else [found]
            for answer in answers:
                assert np.isfinite(answer.scores).all()
                json.dumps(answer.to_dict(), allow_nan=False)
            if kind == 3:
                draw(scene.picture, answers[:4])

    return ask


def things(rng: random.Random) -> Callable[[], Any]:
    """What makes one of some odd things, from a text to a generator of lists."""
    seed = rng.randrange(1 << 30)

    def make() -> Any:
        nonlocal seed
        seed += 1
        return thing(random.Random(seed))

    return make


def thing(rng: random.Random) -> Any:
    """A text, several, or something that is no text at all."""
    kind = rng.randrange(12)
    if kind < 5:
        return text(rng)
    if kind < 8:
        several = [text(rng) for _ in range(rng.choice((0, 1, 2, 3, 40)))]
        return rng.choice(
            (several, tuple(several), iter(several), dict.fromkeys(several), tuple(reversed(several)), (one for one in several))
        )
    if kind == 8:
        return [thing(rng) for _ in range(rng.choice((1, 2, 3)))]
    if kind == 9:
        return text(rng).encode("utf-8", "surrogatepass")
    odd = (
        np.str_("a cat"),
        np.array(["a cat"]),
        np.array("a cat"),
        np.zeros(3),
        object(),
        type,
        len,
        Query("x"),
        ...,
        1j,
        {1: 2},
        "",
    )
    return rng.choice((value(rng, 3), rng.choice(odd)))


def text(rng: random.Random) -> str:
    """A text of odd pieces, now and then an enormous one."""
    if rng.random() < 0.02:
        return rng.choice(PIECES) * (rng.choice(HUGE) // 4)
    pieces = [rng.choice(PIECES) if rng.random() < 0.7 else letter(rng) for _ in range(rng.choice(SIZES))]
    return rng.choice(("", "", " ", "{}")).join(pieces)


def letter(rng: random.Random) -> str:
    """A character of any plane of Unicode, surrogates among them."""
    return chr(rng.choice((rng.randrange(0x300), rng.randrange(0x1_0000), rng.randrange(0x11_0000))))
