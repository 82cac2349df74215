"""What a bundle needs to read words: CLIP's tokenizer as a `tokenizers` file, and the ImageNet prompt templates."""

from __future__ import annotations

import json
from pathlib import Path

from open_clip import OPENAI_IMAGENET_TEMPLATES, SimpleTokenizer
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.processors import TemplateProcessing

PLACEHOLDER = "{}"

# CLIP's words: English clitics, runs of letters, single digits, runs of anything else that is not white space.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def clip_tokenizer(merges: Path | None = None, context: int = 77) -> SimpleTokenizer:
    """CLIP's tokenizer; or, by a list of merges in the form of CLIP's own, one that knows fewer words."""
    return SimpleTokenizer(*([] if merges is None else [str(merges)]), context_length=context)


def write_tokenizer(path: Path, source: SimpleTokenizer) -> None:
    """Write a byte-pair encoding of CLIP's kind as a `tokenizer.json`, padding and truncation included.

    The text is expected clean and in lower case: `runtime.text` does that, as CLIP does.
    """
    merges = [pair for pair, _ in sorted(source.bpe_ranks.items(), key=lambda item: item[1])]
    tokenizer = Tokenizer(BPE(vocab=source.encoder, merges=merges, end_of_word_suffix="</w>"))
    words = Split(Regex(WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = Sequence([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    start, end = (source.decoder[number] for number in (source.sot_token_id, source.eot_token_id))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (start, end)])
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, source.sot_token_id), (end, source.eot_token_id)],
    )
    tokenizer.enable_truncation(source.context_length)
    tokenizer.enable_padding(length=source.context_length, pad_id=0, pad_token="!")
    tokenizer.save(str(path), pretty=False)


def write_templates(path: Path) -> None:
    """Write the named sets of prompt templates; `{}` is where the words go."""
    sets = {
        "plain": [PLACEHOLDER],
        "paper": [f"an image of a {PLACEHOLDER}."],
        "imagenet": [template(PLACEHOLDER) for template in OPENAI_IMAGENET_TEMPLATES],
    }
    path.write_text(json.dumps(sets, indent=1) + "\n", encoding="utf-8")
