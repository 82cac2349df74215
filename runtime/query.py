"""A question to a picture: words, perhaps several for one thing, and the sentences they are put into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.records import shown
from runtime.errors import QueryError

PLACEHOLDER = "{}"
PLAIN = (PLACEHOLDER,)
LONGEST_PROMPT, MOST_PROMPTS = 10_000, 10_000  # characters, and sentences of one query; models read some 77 tokens


@dataclass(frozen=True, init=False)
class Query:
    """Words for one thing (synonyms are averaged), each put into each template; `{}` is where the words go."""

    words: tuple[str, ...]
    templates: tuple[str, ...]

    def __init__(self, words: str | Iterable[str], templates: str | Iterable[str] = PLAIN) -> None:
        """Take one text or several of each."""
        object.__setattr__(self, "words", listed("words", words))
        object.__setattr__(self, "templates", listed("templates", templates))
        if not self.words or any(not isinstance(word, str) or not word.strip() for word in self.words):
            raise QueryError(f"the query {shown(self.words, 200)} is empty; give the words to look for, such as `a red bus`")
        for template in self.templates:
            if not isinstance(template, str) or PLACEHOLDER not in template:
                raise QueryError(f"template {shown(template, 200)} has no `{PLACEHOLDER}`, the place where the words go")
        if not self.templates:
            raise QueryError(
                f"the query {shown(self.words, 200)} has no template; `{PLACEHOLDER}` alone takes the words as they are"
            )
        self.check_length()

    def check_length(self) -> None:
        """Refuse what no model could read, and what would take all memory to find that out."""
        longest, count = max(map(len, self.words)), len(self.words) * len(self.templates)
        length = max(len(template) + template.count(PLACEHOLDER) * longest for template in self.templates)
        if length > LONGEST_PROMPT or count > MOST_PROMPTS:
            raise QueryError(
                f"the query {shown(self.words[0])} makes {count} sentences of up to {length} characters; give at most "
                f"{MOST_PROMPTS} of {LONGEST_PROMPT}"
            )

    @property
    def label(self) -> str:
        """The words to show."""
        return self.words[0]

    def prompts(self) -> list[str]:
        """Every sentence that stands for this query."""
        return [template.replace(PLACEHOLDER, word) for word in self.words for template in self.templates]


def listed(name: str, texts: object) -> tuple[str, ...]:
    """One text or several, as a tuple; texts of other libraries become plain ones."""
    if isinstance(texts, str):
        return (str(texts),)
    try:
        if not isinstance(texts, bytes | Mapping) and isinstance(texts, Iterable):
            return tuple(str(text) if isinstance(text, str) else text for text in texts)
    except TypeError:  # an array without axes says that it can be gone through
        pass
    raise QueryError(f"`{name}` of a query must be a text or several, found {shown(texts)} ({type(texts).__name__})")


Asked = str | Query
Several = list[str] | list[Query] | list[Asked] | tuple[Asked, ...]  # not any sequence: a text is one, of letters


def is_one(asked: Asked | Several) -> bool:
    """Whether one query is asked, whose answer is one, too."""
    return isinstance(asked, (str, Query))


def as_query(asked: Asked, templates: tuple[str, ...]) -> Query:
    """Take words as they come; a `Query` keeps its own templates."""
    if isinstance(asked, Query):
        return asked
    if isinstance(asked, str):
        return Query((asked,), templates)
    raise QueryError(f"a query is a text or a `Query`, got {type(asked).__name__}")


def as_queries(asked: Asked | Several, templates: tuple[str, ...]) -> list[Query]:
    """Take one query or several; no query at all is an error."""
    alone = isinstance(asked, (str, bytes, Mapping, Query)) or not isinstance(asked, Iterable)
    several: Sequence[Any] = [asked] if alone else listed("words", asked)
    if not several:
        raise QueryError("no query was given; give at least one text to look for")
    return [as_query(one, templates) for one in several]
