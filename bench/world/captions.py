"""Captions in many wordings, for one object and for several."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from bench.world.nouns import nouns

SINGLE = (
    "{}", "{a}", "the {}", "a photo of {a}.", "a picture of {a}.", "an image of {a}.", "an image of a {}.",
    "a photo of a {}.", "a photo of the {}.", "a picture with {a} in it", "this is {a}", "there is {a} here",
    "{a} somewhere in the picture", "one {}", "a small {}", "a large {}", "a drawing of {a}.", "an emoji of {a}",
    "a cartoon {}", "look, {a}!", "a close-up of {a}", "a scene with {a}", "an icon of the {}", "my {}",
    "itap of a {}.", "a good photo of a {}.", "a cropped photo of the {}.", "a rendering of a {}.",
)  # fmt: skip
JOINT = (
    "{}", "a picture of {}", "a photo of {}.", "an image of {}.", "this is {}", "a scene with {}", "{} together",
    "there are {} here", "look at {}", "a drawing of {}",
)  # fmt: skip

PLURAL = frozenset(
    ("grapes", "cherries", "pancakes", "fries", "noodles", "scissors", "headphones", "glasses", "sunglasses",
     "jeans", "socks", "dice")
)  # fmt: skip
MASS = frozenset(("milk", "wine", "beer", "bacon", "popcorn", "corn", "garlic", "broccoli", "sushi", "lightning"))


def with_article(noun: str) -> str:
    """The noun as a phrase: `an owl`, `some grapes`."""
    if noun in PLURAL or noun in MASS:
        return f"some {noun}"
    vowel = noun[0] in "aeio" or noun.startswith(("umbrella", "ant"))
    return f"{'an' if vowel else 'a'} {noun}"


def single(noun: str, template: str) -> str:
    """One object in one wording."""
    return template.format(noun, a=with_article(noun))


def joint(found: Sequence[str], template: str, comma: bool) -> str:
    """Several objects in one wording, joined by `and` or by commas and `and`."""
    phrases = [with_article(noun) for noun in found]
    if len(phrases) == 1:
        return template.format(phrases[0])
    listed = f"{', '.join(phrases[:-1])} and {phrases[-1]}" if comma else " and ".join(phrases)
    return template.format(listed)


def caption(rng: Generator, held: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """A caption that names one, some or all of the held nouns, and the nouns it names."""
    count = 1 + int(rng.integers(len(held)))
    named = tuple(int(held[place]) for place in rng.permutation(len(held))[:count])
    words = [nouns()[noun] for noun in named]
    if count == 1:
        return single(words[0], SINGLE[int(rng.integers(len(SINGLE)))]), named
    comma = count > 2 and rng.random() < 0.7
    return joint(words, JOINT[int(rng.integers(len(JOINT)))], bool(comma)), named


def prompt(rng: Generator, noun: int) -> str:
    """One object in a random single wording."""
    return single(nouns()[noun], SINGLE[int(rng.integers(len(SINGLE)))])
