"""The tiny transformer of the golden values: numbers that any language makes alike, and what the methods find with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.oracle_dense import Layer, Model


def numbers() -> Any:
    """A stream of numbers in [-0.5, 0.5)."""
    state = 1
    while True:
        state = (1103515245 * state + 12345) % 2**31
        yield state / 2**31 - 0.5


def golden() -> tuple[Model, Tensor, Tensor]:
    """The model (d=8, 2 heads, 4 blocks, grid 3 x 3, D=5), the stream `(10, 8)` that enters it, and five texts `(5, 5)`."""
    source = numbers()

    def u(*shape: int) -> Tensor:
        count = int(torch.tensor(shape).prod())
        return torch.tensor([next(source) for _ in range(count)], dtype=torch.float64).reshape(shape)

    x0, layers = 2 * u(10, 8), []
    for _ in range(4):
        g1, b1 = 1 + 0.2 * u(8), 0.2 * u(8)
        (wq, bq), (wk, bk), (wv, bv), (wo, bo) = [(1.5 * u(8, 8), 0.2 * u(8)) for _ in range(4)]
        g2, b2 = 1 + 0.2 * u(8), 0.2 * u(8)
        w1, c1, w2, c2 = 1.5 * u(32, 8), 0.2 * u(32), 1.5 * u(8, 32), 0.2 * u(8)
        layers.append(Layer(g1, b1, wq, wk, wv, wo, bq, bk, bv, bo, g2, b2, w1, c1, w2, c2))
    g, b, proj = 1 + 0.2 * u(8), 0.2 * u(8), 1.5 * u(8, 5)
    texts = u(5, 5)
    return Model(layers, g, b, proj, 2, (3, 3)), x0, texts / texts.norm(dim=1, keepdim=True)


def tower(model: Model) -> Any:
    """The same as open_clip's blocks: `(blocks, norm, projection)` in float64."""
    from open_clip.transformer import QuickGELU, ResidualAttentionBlock
    from torch import nn

    width = model.g.shape[0]
    blocks = []
    for layer in model.layers:
        block = ResidualAttentionBlock(width, model.heads, act_layer=QuickGELU if model.quick else nn.GELU).double()
        values = {
            "ln_1.weight": layer.g1, "ln_1.bias": layer.b1, "ln_2.weight": layer.g2, "ln_2.bias": layer.b2,
            "attn.in_proj_weight": torch.cat([layer.wq, layer.wk, layer.wv]),
            "attn.in_proj_bias": torch.cat([layer.bq, layer.bk, layer.bv]),
            "attn.out_proj.weight": layer.wo, "attn.out_proj.bias": layer.bo,
            "mlp.c_fc.weight": layer.w1, "mlp.c_fc.bias": layer.c1, "mlp.c_proj.weight": layer.w2, "mlp.c_proj.bias": layer.c2,
        }  # fmt: skip
        block.load_state_dict(values)
        blocks.append(block.eval())
    norm = nn.LayerNorm(width).double()
    norm.load_state_dict({"weight": model.g, "bias": model.b})
    return blocks, norm.eval(), nn.Parameter(model.proj, requires_grad=False)


# Maps of the first text over patches 1 to 9.
GOLDEN = {
    "maskclip": ".51157 .31026 .61729 -.23833 .48928 -.10715 .61545 .43447 .81251",
    "maskclip-bare": "-.31948 .05482 .08218 .44811 -.24634 .60708 .13103 -.55593 .83476",
    "sclip": ".47586 .28320 .58319 -.16542 .50078 -.03156 .56648 .49414 .66650",
    "clearclip": "-.02330 .00775 .16891 .60238 .00027 .58581 .19316 -.09927 .46615",
    "naclip": "-.16803 -.08853 -.16577 .52262 -.15837 .60814 -.16443 -.21482 -.12569",
    "resclip": "-.11515 .04127 -.12329 .76607 -.09183 .48419 -.11330 -.14188 -.11192",
    "itaclip": ".36881 .19813 .58567 -.01225 .49936 .18844 .52883 .45422 .56567",
    "cliptrase": ".41055 .25311 .52798 -.04478 .43815 .02926 .51475 .41904 .61119",
    "surgery": ".51269 .04206 .62565 -.44339 .56770 -.28703 .56236 .52043 .50457",
    "gem": ".50319 .09366 .61797 -.25013 .57298 -.03542 .54934 .52853 .45710",
    "sc-clip": "-.42501 .04885 -.42424 -.44210 -.43188 -.44724 -.42290 -.42705 -.42106",
    "cliper": ".85437 .96751 1.14362 .69240 .93320 .59902 1.75509 .44142 1.11640",
    "legrad": ".44943 .86105 .25507 .22437 .15795 0 .55244 .20529 1",
    "grad-eclip": "0 0 .00202 0 0 .01508 .06101 0 1",
    "clip-es": ".49323 .43322 .92959 0 1 0 .72627 .68821 .15764",
    "clip-es-refined": ".98898 .94726 .99458 .92790 .97794 .93654 1 .98904 .99648",
    "textspan": ".81530 .97950 .89288 0 1 .52538 .90581 .94122 .77020",
}
CLASS_COSINE = 0.29614


def wanted(name: str) -> Tensor:
    return torch.tensor([float(value) for value in GOLDEN[name].split()], dtype=torch.float64)
