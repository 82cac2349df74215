"""Words to embeddings: CLIP's text cleaning, the bundle's tokenizer, its text graph, and a cache."""

from __future__ import annotations

import html
import json
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from engine.manifest import TEXT_GRAPHS
from engine.records import shown
from runtime.backends.session import Session
from runtime.bundles import Bundle
from runtime.errors import BundleError, QueryError
from runtime.query import PLACEHOLDER, Query

Vectors = NDArray[np.float32]

CACHED_PROMPTS, LONGEST_CACHED = 8192, 1000  # how many, and of how many characters
PROMPTS_AT_ONCE = 64  # what does not fit a model is tokenized all the same, and takes room until it is let go


class QueryWarning(UserWarning):
    """A query was longer than the model reads, or names what a small model was never taught."""


@dataclass(frozen=True)
class TextGraph:
    """A text graph: it reads up to `texts` texts a run, whose ends lie within its `tokens` tokens."""

    session: Session
    texts: int
    tokens: int

    def embed(self, tokens: NDArray[np.int64]) -> Vectors:
        """Embed the texts of one run, `(n, T)` to `(n, D)`; what is empty is padded, what is too long is padding."""
        full = np.zeros((self.texts, self.tokens), dtype=np.int64)
        full[: len(tokens)] = tokens[:, : self.tokens]
        embedded = self.session.run({"tokens": full})["embeddings"][: len(tokens)]
        if not np.isfinite(embedded).all():  # every comparison with NaN is false: it would read as "not there"
            raise BundleError("the model's texts hold NaN or infinity; build the bundle again (fp32 if it is fp16)")
        return embedded


class TextEncoder:
    """Turns queries into unit embeddings `(Q, D)`; prompts seen before cost nothing. Safe to share between threads."""

    def __init__(self, bundle: Bundle, sessions: Mapping[str, Session]) -> None:
        """Take the bundle's text graphs by name; sessions of other graphs are left alone."""
        described = bundle.manifest.graphs
        self.graphs = tuple(
            TextGraph(sessions[name], *described[name].inputs["tokens"][1]) for name in TEXT_GRAPHS if name in described
        )
        self.context = bundle.manifest.text.context
        try:
            self.tokenizer = Tokenizer.from_file(str(bundle.file("tokenizer.json")))
            sets = json.loads(bundle.file("templates.json").read_text(encoding="utf-8"))
            self.templates = {str(name): Query(("a thing",), tuple(lines)).templates for name, lines in sets.items()}
            length = len(self.tokenizer.encode("a thing").ids)
        except BundleError:
            raise
        except Exception as error:  # tokenizers raises plain Exception
            raise BundleError(f"bundle `{bundle.folder}`: its tokenizer or templates cannot be read: {error}") from error
        if length != self.context:
            raise BundleError(f"bundle `{bundle.folder}`: its tokenizer gives {length} tokens, its graphs read {self.context}")
        self.backbone, self.nouns = bundle.manifest.backbone, bundle.manifest.nouns
        self.warned = not self.nouns
        self.cache: OrderedDict[str, Vectors] = OrderedDict()
        self.lock = threading.Lock()

    def named_templates(self, name: str | Sequence[str]) -> tuple[str, ...]:
        """Find a set of templates by name; a text with `{}` in it, or several, are taken as they are."""
        if not isinstance(name, str):
            try:
                return Query(("a thing",), tuple(name)).templates
            except TypeError:
                raise QueryError(
                    f"`templates` must be a name, a sentence with `{PLACEHOLDER}`, or several; found {shown(name)}"
                ) from None
        if PLACEHOLDER in name:
            return (name,)
        if name not in self.templates:
            known = ", ".join(sorted(self.templates))
            raise QueryError(
                f"templates {shown(name)} are unknown: choose from {known}, or give a sentence with `{PLACEHOLDER}` in it"
            )
        return self.templates[name]

    def embed(self, queries: Sequence[Query]) -> Vectors:
        """Embed queries `(Q, D)`: each prompt to unit length, their mean over synonyms and templates, unit again."""
        for query in queries:
            for word in query.words:
                if not clean(word):
                    raise QueryError(
                        f"the query {shown(word)} has nothing left once it is cleaned as CLIP cleans texts; give words"
                    )
        self.warn_of_unknown_words(queries)
        prompts = list(dict.fromkeys(prompt for query in queries for prompt in query.prompts()))
        vectors = self.prompt_vectors(prompts)
        rows = []
        for query in queries:
            mean = np.mean([vectors[prompt] for prompt in query.prompts()], axis=0, dtype=np.float64)
            rows.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        return np.asarray(rows, dtype=np.float32)

    def nothing(self, templates: Sequence[str]) -> Vectors:
        """The unit embedding `(D,)` of sentences without words: what all questions in these templates have in common."""
        prompts = [template.replace(PLACEHOLDER, "") for template in templates]
        vectors = self.prompt_vectors(list(dict.fromkeys(prompts)))
        mean = np.mean([vectors[prompt] for prompt in prompts], axis=0, dtype=np.float64)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)

    def warn_of_unknown_words(self, queries: Sequence[Query]) -> None:
        """Say once that a small model knows little, when a query names nothing that it was taught."""
        for query in queries:
            if not any(mentions(query, noun) for noun in self.nouns):
                self.warn_of_small_model(f"`{query.label:.60}`")
                return

    def warn_of_small_model(self, occasion: str) -> None:
        """Say once what a small model knows; one that knows the world says nothing."""
        if not self.warned:
            self.warned = True
            warnings.warn(
                f"{occasion}: the small model `{self.backbone}` knows {len(self.nouns)} kinds of emoji and nothing else; for "
                'photographs and other words open a real one: `Localizer("RN50")`, or `--model RN50`',
                QueryWarning,
                stacklevel=2,
            )

    def prompt_vectors(self, prompts: Sequence[str]) -> dict[str, Vectors]:
        """Look prompts up, run the model on the new ones, and remember those."""
        with self.lock:
            found = {prompt: self.cache[prompt] for prompt in prompts if prompt in self.cache}
        missing = [prompt for prompt in prompts if prompt not in found]
        if missing:
            tokens = self.tokens(missing)
            for graph, rows in assign_to_graphs(ends(tokens), self.graphs):
                found.update(zip((missing[row] for row in rows), graph.embed(tokens[rows]), strict=True))
        with self.lock:
            self.cache.update((prompt, found[prompt]) for prompt in missing if len(prompt) <= LONGEST_CACHED)
            while len(self.cache) > CACHED_PROMPTS:
                self.cache.popitem(last=False)
        return found

    def tokens(self, prompts: Sequence[str]) -> NDArray[np.int64]:
        """Token ids `(n, T)`; what does not fit is cut off, with a warning."""
        rows: list[list[int]] = []
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            part = prompts[start : start + PROMPTS_AT_ONCE]
            encoded: list[Encoding] = self.tokenizer.encode_batch([clean(prompt) for prompt in part])
            rows += (encoding.ids for encoding in encoded)
            for prompt in (prompt for prompt, encoding in zip(part, encoded, strict=True) if encoding.overflowing):
                warnings.warn(
                    f"`{prompt[:60]}...` is longer than the {self.context} tokens that the model reads; the rest is ignored",
                    QueryWarning,
                    stacklevel=2,
                )
        return np.array(rows, dtype=np.int64)


def ends(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many tokens `(n,)` each text has, its end included: the end is the largest of all tokens, and padding follows."""
    return np.asarray(tokens.argmax(axis=1) + 1)


def assign_to_graphs(lengths: NDArray[np.int64], graphs: Sequence[TextGraph]) -> Iterator[tuple[TextGraph, NDArray[np.intp]]]:
    """Share texts of these lengths out to runs of the graphs: to the shortest that hold them, in runs at least half full."""
    left = np.arange(len(lengths))
    for tokens in sorted({graph.tokens for graph in graphs}):
        fits = lengths[left] <= tokens
        waiting, left = left[fits], left[~fits]
        by_size = sorted((graph for graph in graphs if graph.tokens == tokens), key=lambda graph: -graph.texts)
        while len(waiting):
            graph = next((graph for graph in by_size if graph.texts <= 2 * len(waiting)), by_size[-1])
            yield graph, waiting[: graph.texts]
            waiting = waiting[graph.texts :]


def mentions(query: Query, noun: str) -> bool:
    """Whether a query names a noun, or several of it."""
    spaced = (f" {' '.join(re.findall('[a-z]+', clean(word)))} " for word in query.words)
    return any(f" {noun} " in words or f" {noun}s " in words for words in spaced)


def clean(text: str) -> str:
    """Clean a text as CLIP does: mend broken Unicode, resolve HTML entities, squeeze white space, lower case."""
    if not (text.isascii() and text.isprintable()) or "&" in text:
        import ftfy  # here: plain English, without entities and control characters, never needs it

        text = ftfy.fix_text(text)
    return " ".join(html.unescape(html.unescape(text)).split()).lower()
