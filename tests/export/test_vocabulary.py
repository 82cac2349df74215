"""The tokenizer and the templates of a bundle; `tests/runtime/test_text.py` compares tokens."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
from tokenizers import Tokenizer

from export.vocabulary import clip_tokenizer, write_templates, write_tokenizer


@pytest.mark.parametrize("context", [16, 77])
def test_the_tokenizer_knows_the_context(tmp_path: Path, context: int) -> None:
    write_tokenizer(tmp_path / "t.json", clip_tokenizer(context=context))
    tokenizer = Tokenizer.from_file(str(tmp_path / "t.json"))
    for text in ("a dog", "dog " * 100):
        expected = open_clip.tokenize([text], context_length=context)[0].tolist()
        assert tokenizer.encode(text).ids == expected


def test_the_tokenizer_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_tokenizer(tmp_path / name, clip_tokenizer())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_templates(tmp_path: Path) -> None:
    write_templates(tmp_path / "t.json")
    sets = json.loads((tmp_path / "t.json").read_text())
    assert sets["plain"] == ["{}"]
    assert sets["paper"] == ["an image of a {}."]
    assert len(sets["imagenet"]) == len(set(sets["imagenet"])) == 80
    assert "a bad photo of a {}." in sets["imagenet"]
    assert all(line.count("{}") == 1 for lines in sets.values() for line in lines)
