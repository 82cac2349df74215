"""`python -m export.catalogue`: where the weights that templates can be filled with are published, as open_clip knows it."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import open_clip
import typer

from export.backbones import QUICK
from runtime.bundles import bundle_name
from runtime.errors import WeightsError
from runtime.filling.catalogue import FILE
from runtime.filling.template import shipped

# Per backbone the tags that are offered, its usual one first. Left out are those of small or partial training sets.
OFFERED = {
    "RN50": ("openai", "yfcc15m", "cc12m"),
    "RN101": ("openai", "yfcc15m"),
    "RN50x4": ("openai",),
    "RN50x16": ("openai",),
    "RN50x64": ("openai",),
    "ViT-B-32": ("openai", "laion2b_s34b_b79k", "datacomp_xl_s13b_b90k", "metaclip_400m", "metaclip_fullcc", "laion400m_e32"),
    "ViT-B-32-256": ("datacomp_s34b_b86k",),
    "ViT-B-16": (
        *("openai", "laion2b_s34b_b88k", "datacomp_xl_s13b_b90k", "dfn2b", "metaclip_400m", "metaclip_fullcc", "laion400m_e32"),
    ),
    "ViT-B-16-plus-240": ("laion400m_e32",),
    "ViT-L-14": (
        *("openai", "laion2b_s32b_b82k", "datacomp_xl_s13b_b90k", "dfn2b", "dfn2b_s39b", "metaclip_400m", "metaclip_fullcc"),
        "laion400m_e32",
    ),
    "ViT-L-14-336": ("openai",),
    "ViT-H-14": ("laion2b_s32b_b79k", "dfn5b", "metaclip_fullcc", "metaclip_altogether"),
    "ViT-H-14-378": ("dfn5b",),
}
# As their publishers say; open_clip's records do not tell.
LICENCES = {
    "openai": "MIT (OpenAI)",
    "laion": "MIT (LAION)",
    "datacomp": "MIT (LAION)",
    "yfcc": "MIT (open_clip)",
    "cc12m": "MIT (open_clip)",
    "dfn": "Apple's sample code licence",
    "metaclip": "CC BY-NC 4.0 (Meta): not for commercial use",
}


def offered() -> list[dict[str, Any]]:
    """Every line that the catalogue may have."""
    return [entry(backbone, tag) for backbone, tags in OFFERED.items() for tag in tags]


def entries() -> list[dict[str, Any]]:
    """Every line of the catalogue: those with a template."""
    there = shipped()
    return [line for line in offered() if line["template"] in there]


def entry(backbone: str, tag: str) -> dict[str, Any]:
    """One line: a backbone with one set of weights."""
    known = open_clip.get_pretrained_cfg(backbone, tag)
    if not known or not known.get("hf_hub"):
        raise WeightsError(f"open_clip knows no repository for {backbone} `{tag}`")
    quick = bool(known.get("quick_gelu", False))
    return {
        "name": bundle_name(backbone, tag, "fp32"),
        "backbone": backbone,
        "tag": tag,
        "template": backbone + (QUICK if quick else ""),
        "repository": known["hf_hub"].strip("/"),
        "licence": next(licence for word, licence in LICENCES.items() if tag.startswith(word)),
        "mean": list(known["mean"]),
        "std": list(known["std"]),
        "megabytes": megabytes(backbone),
        **({"archive_sha256": known["url"].split("/")[-2]} if tag == "openai" else {}),
    }


@functools.cache
def megabytes(backbone: str) -> int:
    """How large a file of this backbone's weights is in float32, within a percent; half of it where published in half."""
    import torch

    config = dict(open_clip.get_model_config(backbone))
    with torch.device("meta"):
        model = open_clip.CLIP(**config)
    count = sum(int(tensor.numel()) for tensor in model.state_dict().values())
    return round(count * 4 / 1e6)


def main() -> None:
    """Write the catalogue."""
    found = entries()
    Path(FILE).write_text("[\n" + ",\n".join(json.dumps(line) for line in found) + "\n]\n", encoding="utf-8")
    typer.echo(f"{len(found)} of {len(offered())} models in {FILE}")


if __name__ == "__main__":
    main()
