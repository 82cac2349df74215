"""The words of the demo models: a small part of CLIP's vocabulary, so that their token tables are small.

    python -m bench.training.vocabulary --out export/checkpoints/demo.merges.txt.gz [--cut demo-rn.safetensors ...]

A token is kept when it stands on the way to a word that the world can ask for, or is among the commonest of CLIP's own.
The kept merges stay in their order, so a known word falls into the same tokens as before; any other falls into smaller
pieces, in the end into single bytes. `--cut` selects the rows of checkpoints with the whole table, and changes no number.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES, SimpleTokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.world.captions import JOINT, SINGLE, joint, single
from bench.world.nouns import nouns
from export.vocabulary import clip_tokenizer

COMMON = 1000  # merges: CLIP learnt the commonest words first
HEADER = "#version: 0.2"  # the first line of such lists, which readers skip
TABLE = "token_embedding.weight"


def world_texts() -> Iterator[str]:
    """Every noun in every wording: the captions of the world, and the prompts that a bundle knows by name."""
    for noun in nouns():
        yield from (single(noun, template) for template in SINGLE)
        yield from (joint((noun, noun, noun), template, comma) for template in JOINT for comma in (False, True))
        yield from (template(noun) for template in OPENAI_IMAGENET_TEMPLATES)


def kept_merges(tokenizer: SimpleTokenizer, texts: Iterable[str], common: int) -> list[tuple[str, str]]:
    """The merges on the way to every token of these texts and the first ones of all, in the tokenizer's own order."""
    merges = list(tokenizer.bpe_ranks)
    made = {first + second: (first, second) for first, second in merges}
    kept = set(merges[:common])
    waiting = [tokenizer.decoder[number] for number in {number for text in texts for number in tokenizer.encode(text)}]
    while waiting:
        merge = made.get(waiting.pop())  # none: a single byte
        if merge and merge not in kept:
            kept.add(merge)
            waiting += merge
    return [merge for merge in merges if merge in kept]


def write_merges(merges: Iterable[tuple[str, str]], path: Path) -> None:
    """Write merges in the form of CLIP's own list, which open_clip's tokenizer reads; equal lists give equal bytes."""
    text = "\n".join([HEADER, *(" ".join(merge) for merge in merges)])
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def cut(state: dict[str, Tensor], whole: SimpleTokenizer, small: SimpleTokenizer) -> dict[str, Tensor]:
    """The weights with the rows of the small vocabulary alone, in its order."""
    if len(state[TABLE]) != whole.vocab_size:
        raise ValueError(f"`{TABLE}` has {len(state[TABLE])} rows; only a table of all {whole.vocab_size} tokens can be cut")
    rows = torch.tensor([whole.encoder[token] for token in small.encoder])
    return {**state, TABLE: state[TABLE][rows].contiguous()}


def main() -> None:
    """Write the list of merges, and cut checkpoints."""
    parser = argparse.ArgumentParser(description="Write the list of merges that the demo models keep; cut their checkpoints.")
    parser.add_argument("--out", type=Path, required=True, help="the list of merges (.txt.gz)")
    parser.add_argument("--common", type=int, default=COMMON, help="how many of CLIP's first merges are kept besides")
    parser.add_argument("--cut", type=Path, nargs="*", default=[], help="checkpoints with CLIP's whole table, cut in place")
    chosen = parser.parse_args()
    whole = clip_tokenizer()
    write_merges(kept_merges(whole, world_texts(), chosen.common), chosen.out)
    small = clip_tokenizer(chosen.out)
    for path in chosen.cut:
        save_file(cut(load_file(path), whole, small), path)
    print(f"{small.vocab_size} of {whole.vocab_size} tokens: `vocab_size` of the models' configurations")


if __name__ == "__main__":
    main()
