"""The small vocabulary of the demo models: what the world says stays as it was, and anything else can still be said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import SimpleTokenizer
from safetensors.torch import load_file
from tokenizers import Tokenizer

from bench.training.models import MODELS, tokenizer
from bench.training.vocabulary import COMMON, TABLE, cut, kept_merges, world_texts, write_merges
from bench.world.nouns import nouns
from bench.world.read import PICTURES, read_truth
from export.backbones import OWN, find_backbone
from export.vocabulary import clip_tokenizer, write_tokenizer
from runtime.bundles import DEFAULT_MODEL, SHIPPED, read_manifest
from runtime.text import clean

UNKNOWN = ["zeppelin", "a xylophone, 2 gazebos & the Eiffel tower", "日本語の犬", "🦊", "it's"]


@pytest.fixture(scope="module")
def whole() -> SimpleTokenizer:
    """CLIP's own."""
    return clip_tokenizer()


@pytest.fixture(scope="module")
def small() -> SimpleTokenizer:
    """The demo models'."""
    return tokenizer()


@pytest.fixture(scope="module")
def shipped() -> Tokenizer:
    """The one in the shipped bundle."""
    return Tokenizer.from_file(str(SHIPPED / DEFAULT_MODEL / "tokenizer.json"))


def test_the_list_beside_the_checkpoints_is_the_one_that_the_rule_gives(whole: SimpleTokenizer, tmp_path: Path) -> None:
    write_merges(kept_merges(whole, world_texts(), COMMON), tmp_path / "merges.txt.gz")
    again = clip_tokenizer(tmp_path / "merges.txt.gz")
    assert list(again.encoder) == list(tokenizer().encoder)


def test_what_the_world_says_falls_into_clips_own_tokens(whole: SimpleTokenizer, small: SimpleTokenizer) -> None:
    captions = [entry["caption"] for entry in read_truth(PICTURES)["scenes"]]
    for text in (*captions, *world_texts()):
        pieces = [small.decoder[number] for number in small.encode(text)]
        assert pieces == [whole.decoder[number] for number in whole.encode(text)], text


def test_start_and_end_are_the_largest_and_padding_is_the_first(small: SimpleTokenizer) -> None:
    assert (small.sot_token_id, small.eot_token_id) == (small.vocab_size - 2, small.vocab_size - 1)
    assert small.encoder["!"] == 0


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_words_fall_into_pieces(text: str, whole: SimpleTokenizer, small: SimpleTokenizer, shipped: Tokenizer) -> None:
    pieces = small.encode(text)
    assert small.decode(pieces) == whole.decode(whole.encode(text))
    assert shipped.encode(clean(text)).ids == small([text])[0].tolist()


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_the_shipped_tokenizer_reads_as_the_training_did(shipped: Tokenizer, small: SimpleTokenizer, text: str) -> None:
    assert shipped.encode(clean(text)).ids == small([text])[0].tolist()


def test_the_written_tokenizer_is_the_shipped_one(small: SimpleTokenizer, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "t.json", small)
    assert (tmp_path / "t.json").read_bytes() == (SHIPPED / DEFAULT_MODEL / "tokenizer.json").read_bytes()


def test_cut_weights_keep_the_rows_of_their_words(whole: SimpleTokenizer, small: SimpleTokenizer) -> None:
    state = {TABLE: torch.rand(whole.vocab_size, 4), "other": torch.ones(3)}
    found = cut(state, whole, small)
    assert found[TABLE].shape == (small.vocab_size, 4)
    for word in ("dog</w>", "!", "<end_of_text>"):
        assert torch.equal(found[TABLE][small.encoder[word]], state[TABLE][whole.encoder[word]])
    assert found["other"] is state["other"]
    with pytest.raises(ValueError, match=f"has {small.vocab_size} rows; only a table of all {whole.vocab_size}"):
        cut(found, whole, small)


@pytest.mark.parametrize("name", MODELS)
def test_the_checkpoints_have_a_row_for_every_token(name: str, small: SimpleTokenizer) -> None:
    table = load_file(OWN / f"{name}.safetensors")[TABLE]
    assert len(table) == small.vocab_size
    assert table[small.encoder["dog</w>"]].abs().sum() > 0


def test_the_models_say_which_nouns_they_were_taught() -> None:
    for name in ("demo-rn", "demo-vit"):
        assert find_backbone(name).nouns == nouns()
    assert read_manifest(SHIPPED / DEFAULT_MODEL).nouns == nouns()
