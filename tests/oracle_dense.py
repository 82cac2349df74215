"""The dense and gradient methods, each written out straight from its formulas in plain PyTorch. It shares no code with them.

A `Model` is a transformer as arrays. Every method takes it and the stream `(1 + n, d)` that enters its first block, and gives
features `(n, D)` or maps `(P, n)`. Rows are tokens, the class token first. Gradients are PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Layer:
    g1: Tensor
    b1: Tensor
    wq: Tensor
    wk: Tensor
    wv: Tensor
    wo: Tensor
    bq: Tensor
    bk: Tensor
    bv: Tensor
    bo: Tensor
    g2: Tensor
    b2: Tensor
    w1: Tensor
    c1: Tensor
    w2: Tensor
    c2: Tensor


@dataclass
class Model:
    layers: list[Layer]
    g: Tensor
    b: Tensor
    proj: Tensor
    heads: int
    grid_hw: tuple[int, int]
    quick: bool = True


def of_tower(visual: Any, dtype: torch.dtype = torch.float64) -> Model:
    """The arrays of an open_clip vision transformer."""

    def t(x: Tensor) -> Tensor:
        return x.detach().to(dtype)

    layers = []
    for block in visual.transformer.resblocks:
        attn, (wq, wk, wv) = block.attn, t(block.attn.in_proj_weight).chunk(3)
        bq, bk, bv = t(attn.in_proj_bias).chunk(3)
        mlp = block.mlp
        layers.append(
            Layer(
                t(block.ln_1.weight), t(block.ln_1.bias), wq, wk, wv, t(attn.out_proj.weight), bq, bk, bv, t(attn.out_proj.bias),
                t(block.ln_2.weight), t(block.ln_2.bias), t(mlp.c_fc.weight), t(mlp.c_fc.bias), t(mlp.c_proj.weight),
                t(mlp.c_proj.bias),
            )
        )  # fmt: skip
    quick = type(visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    heads = visual.transformer.resblocks[0].attn.num_heads
    return Model(layers, t(visual.ln_post.weight), t(visual.ln_post.bias), t(visual.proj), heads, tuple(visual.grid_size), quick)


def norm(x: Tensor, g: Tensor, b: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    var = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5) * g + b


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def split(m: Model, x: Tensor) -> Tensor:
    """(N, d) to (T, N, d/T)."""
    return torch.stack(x.chunk(m.heads, dim=1))


def join(x: Tensor) -> Tensor:
    return torch.cat(list(x), dim=1)


def qkv(m: Model, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = norm(x, layer.g1, layer.b1)
    return tuple(split(m, y @ w.T + b) for w, b in ((layer.wq, layer.bq), (layer.wk, layer.bk), (layer.wv, layer.bv)))  # type: ignore[return-value]


def mlp(m: Model, layer: Layer, x: Tensor) -> Tensor:
    h = norm(x, layer.g2, layer.b2) @ layer.w1.T + layer.c1
    h = h * torch.sigmoid(1.702 * h) if m.quick else F.gelu(h)
    return h @ layer.w2.T + layer.c2


def alike(a: Tensor, b: Tensor, extra: Tensor | float = 0.0) -> Tensor:
    return torch.softmax(a @ b.transpose(1, 2) / a.shape[-1] ** 0.5 + extra, dim=-1)


def out(layer: Layer, heads: Tensor) -> Tensor:
    return join(heads) @ layer.wo.T + layer.bo


def vanilla(m: Model, layer: Layer, x: Tensor) -> Tensor:
    q, k, v = qkv(m, layer, x)
    x = x + out(layer, alike(q, k) @ v)
    return x + mlp(m, layer, x)


def streams(m: Model, x: Tensor) -> list[Tensor]:
    """x^0 .. x^L."""
    found = [x]
    for layer in m.layers:
        found.append(vanilla(m, layer, found[-1]))
    return found


def attentions(m: Model, xs: list[Tensor]) -> list[Tensor]:
    """A^1 .. A^L, each (T, N, N)."""
    return [alike(*qkv(m, layer, x)[:2]) for layer, x in zip(m.layers, xs, strict=False)]


def project(m: Model, x: Tensor) -> Tensor:
    return norm(x, m.g, m.b) @ m.proj


def class_token(m: Model, x0: Tensor) -> Tensor:
    return unit(project(m, streams(m, x0)[-1])[0])


def bell(grid_hw: tuple[int, int], sigma: float, class_token: bool = True) -> Tensor:
    h, w = grid_hw
    n = h * w
    bonus = torch.zeros(n, n, dtype=torch.float64)
    for a in range(n):
        for b in range(n):
            apart = (a // w - b // w) ** 2 + (a % w - b % w) ** 2
            bonus[a, b] = torch.exp(torch.tensor(-apart / (2 * sigma**2), dtype=torch.float64))
    if not class_token:
        return bonus
    whole = torch.zeros(n + 1, n + 1, dtype=torch.float64)
    whole[1:, 1:] = bonus
    return whole


# One-block heads.


def tokens(m: Model, x0: Tensor) -> Tensor:
    return unit(project(m, streams(m, x0)[-1]))[1:]


def maskclip(m: Model, x0: Tensor) -> Tensor:
    x, layer = streams(m, x0)[-2], m.layers[-1]
    x = x + out(layer, qkv(m, layer, x)[2])
    return unit(project(m, x + mlp(m, layer, x)))[1:]


def maskclip_bare(m: Model, x0: Tensor) -> Tensor:
    x, layer = streams(m, x0)[-2], m.layers[-1]
    return unit(project(m, out(layer, qkv(m, layer, x)[2])))[1:]


def sclip(m: Model, x0: Tensor) -> Tensor:
    x, layer = streams(m, x0)[-2], m.layers[-1]
    q, k, v = qkv(m, layer, x)
    x = x + out(layer, (alike(q, q) + alike(k, k)) @ v)
    return unit(project(m, x + mlp(m, layer, x)))[1:]


def cliptrase(m: Model, x0: Tensor) -> Tensor:
    x, layer = streams(m, x0)[-2], m.layers[-1]
    q, k, v = qkv(m, layer, x)
    x = x + out(layer, (alike(q, q) + alike(k, k) + alike(v, v)) @ v)
    return unit(project(m, x + mlp(m, layer, x)))[1:]


def clearclip(m: Model, x0: Tensor) -> Tensor:
    x, layer = streams(m, x0)[-2], m.layers[-1]
    q, _, v = qkv(m, layer, x)
    return unit(project(m, out(layer, alike(q, q) @ v)))[1:]


def naclip(m: Model, x0: Tensor, sigma: float = 5.0) -> Tensor:
    x, layer = streams(m, x0)[-2], m.layers[-1]
    _, k, v = qkv(m, layer, x)
    return unit(project(m, out(layer, alike(k, k, bell(m.grid_hw, sigma).to(x.dtype)) @ v)))[1:]


def resclip(m: Model, x0: Tensor, blocks: Sequence[int] = (6, 7, 8, 9), share: float = 0.4, gain: float = 2.0) -> Tensor:
    xs, layer = streams(m, x0), m.layers[-1]
    _, k, v = qkv(m, layer, xs[-2])
    mixed = torch.stack([attentions(m, xs)[number - 1] for number in blocks]).mean(0)
    attention = gain * ((1 - share) * alike(k, k, bell(m.grid_hw, 5.0).to(x0.dtype)) + share * mixed)
    return unit(project(m, out(layer, attention @ v)))[1:]


def itaclip(m: Model, x0: Tensor, blocks: Sequence[int] = (7, 8, 10)) -> Tensor:
    xs, layer = streams(m, x0), m.layers[-1]

    def both(number: int) -> Tensor:
        q, k, _ = qkv(m, m.layers[number - 1], xs[number - 1])
        return alike(q, q) + alike(k, k)

    mixed = torch.stack([both(number) for number in blocks]).mean(0)
    v = qkv(m, layer, xs[-2])[2]
    return unit(project(m, xs[-2] + out(layer, (0.5 * both(len(m.layers)) + 0.5 * mixed) @ v)))[1:]


# Two streams.


def surgery(m: Model, x0: Tensor, blocks: int = 6) -> Tensor:
    xs, first = streams(m, x0), len(m.layers) - blocks
    g = xs[first]
    for layer, x in zip(m.layers[first:], xs[first:], strict=False):
        v = qkv(m, layer, x)[2]
        g = g + out(layer, alike(v, v) @ v)
    return unit(project(m, g))[1:]


def gem(m: Model, x0: Tensor, blocks: int = 6, rounds: int = 1, bare: bool = False) -> Tensor:
    xs, first = streams(m, x0), len(m.layers) - blocks
    g = xs[first]
    for layer, x in zip(m.layers[first:], xs[first:], strict=False):
        y = norm(x, layer.g1, layer.b1)
        q, k, v = qkv(m, layer, x)
        beta = y.norm(dim=-1).mean() / v.shape[-1] ** 0.5
        total = torch.zeros_like(v)
        for facet in (v, k, q):
            z = facet
            for _ in range(rounds):
                z = unit(z)
                z = torch.softmax(beta * z @ z.transpose(1, 2), dim=-1) @ z
            z = unit(z)
            total = total + torch.softmax(beta * z @ z.transpose(1, 2), dim=-1) @ v
        added = out(layer, total / 3)
        g = added if bare else g + added
    return unit(project(m, g))[1:]


# Patches that resemble each other.


def lof(z: Tensor, k: int) -> Tensor:
    """Local outlier factor (n,) as the authors' code computes it: with each point's own distance in place of the reachability."""
    n = len(z)
    far = torch.stack([((z[i] - z) ** 2).sum(-1) for i in range(n)])
    order = [sorted((j for j in range(n) if j != i), key=lambda j, row=far[i]: float(row[j]))[:k] for i in range(n)]
    kappa = torch.stack([far[i, order[i][-1]] for i in range(n)])
    return torch.stack([kappa[i] * (1 / kappa[order[i]]).mean() for i in range(n)])


def outlying(z: Tensor, k: int) -> Tensor:
    """The patches above the 0.95 quantile of the factor, as bool (n,)."""
    factor, n = lof(z, k), len(z)
    count = (n - 1) - int((n - 1) * 95 // 100)
    flags = torch.zeros(n, dtype=torch.bool)
    flags[torch.argsort(-factor)[:count]] = True
    return flags


def looked_at(m: Model, xs: list[Tensor]) -> Tensor:
    """SFP's outliers: patches that the class token looks at more than they look at themselves, at most ten of them."""
    attention = attentions(m, xs)[len(m.layers) - 2].mean(0)
    excess = 1.5 * attention[0, 1:] - attention.diagonal()[1:]
    flags = torch.zeros(len(excess), dtype=torch.bool)
    for p in torch.argsort(-attention[0, 1:] * (excess > 0))[:10].tolist():
        flags[p] = bool(excess[p] > 0)
    return flags


def filled(z: Tensor, flags: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Outliers replaced by the mean of those of their eight neighbours that are none."""
    h, w = grid_hw
    new = z.clone()
    for p in torch.nonzero(flags).flatten().tolist():
        near = [
            a * w + b
            for a in range(p // w - 1, p // w + 2)
            for b in range(p % w - 1, p % w + 2)
            if 0 <= a < h and 0 <= b < w and a * w + b != p and not flags[a * w + b]
        ]
        if near:
            new[p] = z[near].mean(0)
    return new


def gathered(s: Tensor, u: Tensor) -> Tensor:
    s = s * (s >= 0.4)
    return s @ u / (s.sum(1, keepdim=True) + 1e-6)


def resembling(
    m: Model,
    x0: Tensor,
    *,
    k: int = 30,
    pre: int = 9,
    post: int = 4,
    multi: Sequence[int] = range(4, 11),
    sfp: bool = False,
) -> Tensor:
    """SC-CLIP, or SFP."""
    xs, layer = streams(m, x0), m.layers[-1]
    z, g = xs[-2][1:], xs[-2][0]
    flags = looked_at(m, xs) if sfp else outlying(z, k)
    z, f = filled(z, flags, m.grid_hw), filled(xs[pre][1:], flags, m.grid_hw)
    s = unit(f) @ unit(f).T
    z = gathered(s, z)
    kept = s * (s >= 0.4) if sfp else s
    logits = 3 * (kept - kept.mean())
    similar = torch.softmax(torch.where(logits < 0, torch.tensor(-torch.inf, dtype=s.dtype), logits), dim=-1)[None]

    def branch(tokens: Tensor, first: Tensor, second: bool) -> Tensor:
        q, kk, v = qkv(m, layer, tokens)
        if sfp:
            attention = similar.expand(m.heads, -1, -1) if second else (alike(q, q) + alike(kk, kk) + similar) / 3
        else:
            attention = (similar + alike(kk, kk)) / 2
        return out(layer, attention @ v) + 0.3 * first

    p = unit(xs[post][1:])
    p = p @ p.T
    r = torch.stack([xs[number] for number in multi]).sum(0)
    u = gathered(p, branch(z, g, False)) + gathered(p, branch(r[1:], r[0], True))
    return unit(project(m, u))


# Early layers.


def cliper(m: Model, x0: Tensor, texts: Tensor, prompts: int, kappa: float = 100.0, floor: float = 0.1) -> Tensor:
    """CLIPer's maps (prompts, n), its texts the prompts, then backgrounds; the mean of the prompts competes as well."""
    xs, layers = streams(m, x0), m.layers
    shared = torch.stack(attentions(m, xs)[:-1]).sum(0)
    inner = [norm(xs[number], layer.g1, layer.b1) for number, layer in enumerate(layers[:-1])]
    together = torch.cat([texts, unit(texts[:prompts].mean(0, keepdim=True))])
    each = []
    for phi in [*inner, xs[-2]]:
        shared = shared / shared.sum(dim=1, keepdim=True)
        shared = shared / shared.sum(dim=2, keepdim=True)
        attention = (shared + shared.transpose(1, 2)) / 2
        attention = torch.relu(attention - attention.mean(dim=1, keepdim=True))
        attention = attention / attention.sum(dim=2, keepdim=True)
        v = qkv(m, layers[-1], phi)[2]
        features = unit(project(m, out(layers[-1], attention @ v)))[1:]
        each.append(torch.softmax(kappa * features @ together.T, dim=-1))
    chosen = each[-1][:, :prompts]
    chosen = torch.where(chosen < floor * chosen.max(dim=0).values, 0, chosen)
    mean = torch.stack(each).mean(0)[:, :prompts]
    return chosen.T @ attention.mean(0)[1:, 1:] + mean.T


# Gradients, by autograd.


def last_block(m: Model, layer: Layer, x: Tensor, o: Tensor) -> Tensor:
    """The block after its attention, from heads joined (N, d)."""
    x = x + o @ layer.wo.T + layer.bo
    return x + mlp(m, layer, x)


def grad_eclip(m: Model, x0: Tensor, text: Tensor) -> Tensor:
    """Grad-ECLIP's map (n,), with the heads of the model."""
    x, layer = streams(m, x0)[-2], m.layers[-1]
    q, k, v = qkv(m, layer, x)
    o = join(alike(q, k) @ v).detach().requires_grad_()
    score = unit(project(m, last_block(m, layer, x, o))[0]) @ text
    g = torch.autograd.grad(score, o)[0][0]
    close = torch.cosine_similarity(join(q)[:1], join(k)[1:], dim=1)
    loose = (close - close.min()) / (close.max() - close.min())
    return loose * torch.relu(join(v)[1:] @ g)


def textspan(m: Model, x0: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """ClipTextSpan's map (n,): what each patch adds to the class token, term by term; and the sum of all terms, the cosine."""
    xs, terms = streams(m, x0), [x0[0]]
    last = xs[-1][0]
    mean, spread = last.mean(), torch.sqrt(((last - last.mean()) ** 2).mean() + 1e-5)
    count, n, length = 2 * len(m.layers) + 1, len(x0), project(m, last[None])[0].norm()

    def pushed(term: Tensor, parts: int) -> Tensor:
        return ((term - mean / (count * parts)) * m.g / spread + m.b / (count * parts)) @ m.proj / length @ text

    total, found = torch.zeros((), dtype=x0.dtype), torch.zeros(n, dtype=x0.dtype)
    for layer, x in zip(m.layers, xs, strict=False):
        q, k, v = qkv(m, layer, x)
        pi, wo = alike(q, k)[:, 0], layer.wo.chunk(m.heads, dim=1)
        for h in range(m.heads):
            for p in range(n):
                added = pushed(pi[h, p] * (wo[h] @ v[h, p]) + layer.bo / (n * m.heads), n * m.heads)
                found[p] += added
                total = total + added
        middle = x + out(layer, alike(q, k) @ v)
        terms.append(mlp(m, layer, middle)[0])
    total = total + sum(pushed(term, 1) for term in terms)
    return found[1:], total


def legrad(m: Model, x0: Tensor, text: Tensor, layers: int = 2) -> Tensor:
    """LeGrad's map (n,) before it is brought to [0, 1]."""
    xs, total = streams(m, x0), torch.zeros(len(x0) - 1, dtype=x0.dtype)
    for number in range(len(m.layers) - layers, len(m.layers)):
        layer, x = m.layers[number], xs[number]
        q, k, v = qkv(m, layer, x)
        attention = alike(q, k).detach().requires_grad_()
        after = last_block(m, layer, x, join(attention @ v))
        score = unit(project(m, after.mean(0, keepdim=True))[0]) @ text
        g = torch.relu(torch.autograd.grad(score, attention)[0])
        total = total + g.sum(dim=(0, 1))[1:] / (m.heads * len(x0))
    return total


def clip_es(m: Model, x0: Tensor, texts: Tensor, kappa: float) -> Tensor:
    """CLIP-ES's map (n,) for the first text among those that compete."""
    x, layer = streams(m, x0)[-2], m.layers[-1]
    y = norm(x, layer.g1, layer.b1).detach().requires_grad_()
    q, k, v = (split(m, y @ w.T + b) for w, b in ((layer.wq, layer.bq), (layer.wk, layer.bk), (layer.wv, layer.bv)))
    after = last_block(m, layer, x, join(alike(q, k) @ v))
    e = project(m, after)[1:].mean(0)
    score = torch.softmax(kappa * unit(e) @ texts.T, dim=-1)[0]
    alpha = torch.autograd.grad(score, y)[0][1:].mean(0)
    return torch.relu(y.detach()[1:] @ alpha)


def affinity(m: Model, x0: Tensor, blocks: int = 8) -> Tensor:
    """CLIP-ES's affinity (n, n) of patches, from the attention of the last blocks."""
    w = torch.stack(attentions(m, streams(m, x0))[-blocks:]).mean(dim=(0, 1))[1:, 1:]
    for _ in range(3):
        w = w / w.sum(dim=0, keepdim=True)
        w = w / w.sum(dim=1, keepdim=True)
    w = (w + w.T) / 2
    return w @ w


# ResNets: the attention pool of open_clip, in the model's own type, over maps `(n, C)` as rows.


@dataclass
class Pool:
    wq: Tensor
    wk: Tensor
    wv: Tensor
    wc: Tensor
    bq: Tensor
    bk: Tensor
    bv: Tensor
    bc: Tensor
    positions: Tensor
    heads: int

    @classmethod
    def of(cls, pool: Any) -> Pool:
        linear = (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj)
        arrays = [*(each.weight.detach() for each in linear), *(each.bias.detach() for each in linear)]
        return cls(*arrays, pool.positional_embedding.detach(), pool.num_heads)

    def tokens(self, rows: Tensor) -> Tensor:
        return torch.cat([rows.mean(0, keepdim=True), rows]) + self.positions

    def split(self, x: Tensor) -> Tensor:
        return torch.stack(x.chunk(self.heads, dim=1))

    def embedding(self, rows: Tensor) -> Tensor:
        x = self.tokens(rows)
        q, k, v = (self.split(x @ w.T + b) for w, b in ((self.wq, self.bq), (self.wk, self.bk), (self.wv, self.bv)))
        return (join(alike(q[:, :1], k) @ v) @ self.wc.T + self.bc)[0]


def pool_maskclip(pool: Pool, rows: Tensor) -> Tensor:
    return unit((rows @ pool.wv.T + pool.bv) @ pool.wc.T + pool.bc)


def pool_surgery(pool: Pool, rows: Tensor) -> Tensor:
    v = pool.split(pool.tokens(rows) @ pool.wv.T + pool.bv)
    short = v / (v.norm(dim=-1, keepdim=True) + 1e-6)
    attention = torch.softmax(8 / v.shape[-1] ** 0.5 * short @ short.transpose(1, 2), dim=-1)
    return unit(join(attention @ v) @ pool.wc.T + pool.bc)[1:]


def pool_naclip(pool: Pool, rows: Tensor, grid_hw: tuple[int, int], sigma: float = 5.0) -> Tensor:
    x = pool.tokens(rows)
    k, v = (pool.split(x @ w.T + b) for w, b in ((pool.wk, pool.bk), (pool.wv, pool.bv)))
    return unit(join(alike(k, k, bell(grid_hw, sigma).to(x.dtype)) @ v) @ pool.wc.T + pool.bc)[1:]


def pool_grad_cam(pool: Pool, rows: Tensor, text: Tensor) -> Tensor:
    """Grad-CAM's map (n,), by autograd."""
    a = rows.detach().requires_grad_()
    alpha = torch.autograd.grad(unit(pool.embedding(a)) @ text, a)[0].mean(0)
    return torch.relu(rows @ alpha)


def pool_grad_eclip(pool: Pool, rows: Tensor, text: Tensor) -> Tensor:
    """Grad-ECLIP's map (n,) on the attention pool, by autograd."""
    x = pool.tokens(rows)
    q, k, v = (x @ w.T + b for w, b in ((pool.wq, pool.bq), (pool.wk, pool.bk), (pool.wv, pool.bv)))
    o = join(alike(pool.split(q)[:, :1], pool.split(k)) @ pool.split(v)).detach().requires_grad_()
    g = torch.autograd.grad(unit((o @ pool.wc.T + pool.bc)[0]) @ text, o)[0][0]
    close = torch.cosine_similarity(q[:1], k[1:], dim=1)
    return (close - close.min()) / (close.max() - close.min()) * torch.relu(v[1:] @ g)


def pool_grad_cam_plus(pool: Pool, rows: Tensor, text: Tensor) -> Tensor:
    """Grad-CAM++'s map (n,), by autograd."""
    a = rows.detach().requires_grad_()
    g = torch.autograd.grad(unit(pool.embedding(a)) @ text, a)[0]
    shares = g**2 / (2 * g**2 + rows.sum(0, keepdim=True) * g**3 + 1e-6)
    alpha = (torch.relu(g) * torch.where(g == 0, 0, shares)).sum(0)
    return torch.relu(rows @ alpha)


def grad_cam(m: Model, x0: Tensor, text: Tensor) -> Tensor:
    """Grad-CAM's map (n,) on what enters the last block's attention, for the class token."""
    x, layer = streams(m, x0)[-2], m.layers[-1]
    y = norm(x, layer.g1, layer.b1).detach().requires_grad_()
    q, k, v = (split(m, y @ w.T + b) for w, b in ((layer.wq, layer.bq), (layer.wk, layer.bk), (layer.wv, layer.bv)))
    after = last_block(m, layer, x, join(alike(q, k) @ v))
    alpha = torch.autograd.grad(unit(project(m, after)[0]) @ text, y)[0][1:].mean(0)
    return torch.relu(y.detach()[1:] @ alpha)
