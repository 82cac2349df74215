"""Words to embeddings: CLIP's text cleaning, the bundle's tokenizer, its text graph, and a cache."""

from __future__ import annotations

import html
import json
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from runtime.backends.protocol import Session
from runtime.bundle import Bundle
from runtime.errors import BundleError, QueryError
from runtime.query import PLACE, Query

Vectors = NDArray[np.float32]

CACHED_PROMPTS = 8192


class QueryWarning(UserWarning):
    """A query was longer than the model reads."""


class TextEncoder:
    """Turns queries into unit embeddings `(Q, D)`; prompts seen before cost nothing. Safe to share between threads."""

    def __init__(self, bundle: Bundle, session: Session) -> None:
        self.session = session
        self.batch, self.context = bundle.manifest.text.batch, bundle.manifest.text.context
        try:
            self.tokenizer = Tokenizer.from_file(str(bundle.file("tokenizer.json")))
            sets = json.loads(bundle.file("templates.json").read_text(encoding="utf-8"))
        except Exception as error:  # tokenizers raises plain Exception
            raise BundleError(f"bundle `{bundle.folder}`: its tokenizer or templates cannot be read: {error}") from error
        self.templates = {name: tuple(lines) for name, lines in sets.items()}
        self.cache: OrderedDict[str, Vectors] = OrderedDict()
        self.lock = threading.Lock()

    def named_templates(self, name: str | Sequence[str]) -> tuple[str, ...]:
        """Find a set of templates by name; a text with `{}` in it, or several, are taken as they are."""
        if not isinstance(name, str):
            return tuple(name)
        if PLACE in name:
            return (name,)
        if name not in self.templates:
            known = ", ".join(sorted(self.templates))
            raise QueryError(f"templates `{name}` are unknown: choose from {known}, or give a sentence with `{PLACE}` in it")
        return self.templates[name]

    def embed(self, queries: Sequence[Query]) -> Vectors:
        """Embed queries `(Q, D)`: each prompt to unit length, their mean over synonyms and templates, unit again."""
        prompts = list(dict.fromkeys(prompt for query in queries for prompt in query.prompts()))
        vectors = self.prompt_vectors(prompts)
        rows = []
        for query in queries:
            mean = np.mean([vectors[prompt] for prompt in query.prompts()], axis=0, dtype=np.float64)
            rows.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        return np.asarray(rows, dtype=np.float32)

    def prompt_vectors(self, prompts: Sequence[str]) -> dict[str, Vectors]:
        """Look prompts up, run the model on the new ones, and remember those."""
        with self.lock:
            found = {prompt: self.cache[prompt] for prompt in prompts if prompt in self.cache}
        missing = [prompt for prompt in prompts if prompt not in found]
        for start in range(0, len(missing), self.batch):
            part = missing[start : start + self.batch]
            tokens = np.zeros((self.batch, self.context), dtype=np.int64)
            tokens[: len(part)] = self.tokens(part)
            embedded = self.session.run({"tokens": tokens})["embeddings"]
            if not np.isfinite(embedded).all():  # every comparison with NaN is false: it would read as "not there"
                raise BundleError("the model's texts hold NaN or infinity; build the bundle again (fp32 if it is fp16)")
            found.update(zip(part, embedded, strict=False))
        with self.lock:
            self.cache.update((prompt, found[prompt]) for prompt in missing)
            while len(self.cache) > CACHED_PROMPTS:
                self.cache.popitem(last=False)
        return found

    def tokens(self, prompts: Sequence[str]) -> NDArray[np.int64]:
        """Token ids `(n, T)`; what does not fit is cut off, with a warning."""
        encoded: list[Encoding] = self.tokenizer.encode_batch([clean(prompt) for prompt in prompts])
        for prompt, encoding in zip(prompts, encoded, strict=True):
            if encoding.overflowing:
                warnings.warn(
                    f"`{prompt[:60]}...` is longer than the {self.context} tokens that the model reads; the rest is ignored",
                    QueryWarning,
                    stacklevel=2,
                )
        return np.array([encoding.ids for encoding in encoded], dtype=np.int64)


def clean(text: str) -> str:
    """Clean a text as CLIP does: mend broken Unicode, resolve HTML entities, squeeze white space, lower case."""
    if not (text.isascii() and text.isprintable()) or "&" in text:
        import ftfy  # here: plain English, without entities and control characters, never needs it

        text = ftfy.fix_text(text)
    return " ".join(html.unescape(html.unescape(text)).split()).lower()
