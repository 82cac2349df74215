"""What every format needs: pictures with their answers in order, and the list of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from engine.records import shown
from runtime.errors import ArgumentError
from runtime.localization import Box, Localization

Answers: TypeAlias = Mapping[str, Localization | Sequence[Localization]]


class Labelled(NamedTuple):
    """One picture: its file name, its size, and its answers."""

    name: str
    height: int
    width: int
    found: Sequence[Localization]

    def boxes(self) -> Iterator[Box]:
        """All boxes, query by query, best first."""
        for answer in self.found:
            yield from answer


def labelled(answers: Answers) -> list[Labelled]:
    """The pictures in the order given; one that has no answers is refused, for its size is known from them alone."""
    if not isinstance(answers, Mapping):
        raise ArgumentError(
            f"`answers` must map file names to answers, as in {{'street.jpg': found}}; found {shown(answers)} "
            f"({type(answers).__name__})"
        )
    pictures = []
    for name, given in answers.items():
        found = [given] if isinstance(given, Localization) else list(given)
        if not found or not all(isinstance(answer, Localization) for answer in found):
            raise ArgumentError(f"`answers[{name!r}]` must be what `locate` gave for it, found {shown(given)}")
        pictures.append(Labelled(str(name), *found[0].frame.picture_hw, found))
    return pictures


def labels_of(pictures: Sequence[Labelled]) -> list[str]:
    """Every query once, in the order first asked: a label's class is its place in this list."""
    return list(dict.fromkeys(answer.query for picture in pictures for answer in picture.found))
