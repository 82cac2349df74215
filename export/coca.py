"""open_clip's CoCa as two towers: its embeddings of pictures and of texts. What writes captions is left out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.encoders import Tower, same_weights
from export.transformer import NEVER


def asked_once(visual: Tower) -> Tower:
    """The image tower with the one query of its pool that the embedding is read from; others are given as they are.

    The pool asks the patches hundreds of questions, each by itself, and the others' answers are for captions alone.
    """
    if visual.attn_pool is None:
        return visual
    lean = same_weights(visual)
    lean.output_tokens = False
    if lean.pool_type == "tok":
        lean.attn_pool.query = nn.Parameter(visual.attn_pool.query[:1].detach(), requires_grad=False)
    return lean


class AppendedText(nn.Module):
    """The text tower: a class token stands behind each text, padding included, and the embedding is read there.

    Padding is hidden. The published weights were trained with that mask shifted by one, which hides the class token from
    itself and shows the first token of the padding; the tower says whether it is.
    """

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Take token ids `(N, T)`; give embeddings `(N, D)`, not normalised."""
        tower = self.tower
        first = tower.cls_emb.expand(len(tokens), 1, -1)
        stream = torch.cat([tower.token_embedding(tokens), first], dim=1) + tower.positional_embedding
        stream = tower.transformer(stream, attn_mask=self.mask(tokens).to(stream.dtype))
        pooled: Tensor = tower.ln_final(stream[:, -1])
        project = tower.text_projection
        embeddings: Tensor = project(pooled) if isinstance(project, nn.Linear) else pooled @ project
        return embeddings

    def mask(self, tokens: Tensor) -> Tensor:
        """What is added to the attention of each text and head `(N * H, 1 + T, 1 + T)`: nothing, or so much that none is left."""
        words = (tokens.float() > 0).float()
        ones = torch.ones_like(words[:, :1])
        seen = torch.cat([words, ones] if self.tower.correct_cls_mask else [ones, words], dim=1)
        count, length = seen.shape
        if self.tower.attn_mask is None:
            allowed = seen.unsqueeze(1).expand(count, length, length)
        else:
            allowed = seen.unsqueeze(1) * torch.ones(length, length).tril()
        added = (1 - allowed) * NEVER
        return added.unsqueeze(1).expand(count, self.tower.heads, length, length).reshape(-1, length, length)
