"""Do these tensors fit that model? If not: what they look like."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from runtime.errors import WeightsError
from runtime.filling.template import Template, open_template, shipped

FEW = 10  # one tensor in so many amiss: the model that was asked for, damaged or changed
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # what OpenAI's archives hold besides
Shapes = Mapping[str, tuple[int, ...]]


def check_fit(expects: Shapes, shapes: Shapes, asked: str, source: str) -> None:
    """Refuse tensors that are not those of the model asked for, and say why in one sentence."""
    missing = [name for name in expects if name not in shapes]
    other = [name for name, shape in expects.items() if name in shapes and shapes[name] != shape]
    if not missing and not other:
        return
    what = known_as(shapes) or ("" if FEW * len(missing + other) <= len(expects) else described(shapes))
    if what:
        raise WeightsError(f"`{source}` is not {asked}: this looks like {what}")
    first = f"it lacks `{missing[0]}`" if missing else f"`{other[0]}` is {shapes[other[0]]} instead of {expects[other[0]]}"
    raise WeightsError(f"`{source}` does not fit {asked}: {first} ({len(missing) + len(other)} of {len(expects)} differ)")


def check_surplus(expects: Shapes, shapes: Shapes, asked: str, source: str) -> None:
    """Refuse tensors that the model asked for has no place for: they are another's, which would answer with parts missing."""
    surplus = [name for name in shapes if name not in expects and name not in NOT_WEIGHTS]
    if surplus:
        raise WeightsError(
            f"`{source}` holds `{surplus[0]}`, for which {asked} has no place ({len(surplus)} such tensors): it is of another "
            "model, or of more than a model; name the backbone that it belongs to, or write the model's own tensors alone"
        )


def known_as(shapes: Shapes) -> str:
    """The models with a template that these are the tensors of."""
    return " or ".join(f"a {name}" for name in shipped() if fits(open_template(name), shapes))


def described(shapes: Shapes) -> str:
    """What kind of CLIP it is; nothing when it is none."""
    towers = [tower for tower in (image_tower(shapes), text_tower(shapes)) if tower]
    return ", with ".join(towers) if len(towers) == 2 else ""


def fits(template: Template, shapes: Shapes) -> bool:
    """Whether a template's tensors are all there."""
    return all(shapes.get(name) == shape for name, shape in template.expects.items())


def image_tower(shapes: Shapes) -> str:
    """What kind of image tower it is, and how large."""
    first = shapes.get("visual.conv1.weight")
    if first is None or len(first) != 4:
        return ""
    if "visual.class_embedding" in shapes and "visual.positional_embedding" in shapes:
        side = first[-1] * math.isqrt(shapes["visual.positional_embedding"][0] - 1)
        blocks = count(shapes, r"visual\.transformer\.resblocks\.(\d+)\.")
        return f"a vision transformer of {blocks} blocks of width {first[0]}, patches of {first[-1]}, pictures of {side} px"
    if "visual.attnpool.positional_embedding" in shapes:
        side = 32 * math.isqrt(shapes["visual.attnpool.positional_embedding"][0] - 1)
        stages = [count(shapes, rf"visual\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
        return f"a ResNet of {stages} blocks of width {2 * first[0]}, pictures of {side} px"
    return ""


def text_tower(shapes: Shapes) -> str:
    """How large the text tower is."""
    words = shapes.get("token_embedding.weight")
    if words is None:
        return ""
    blocks = count(shapes, r"transformer\.resblocks\.(\d+)\.")
    return f"a text tower of {blocks} blocks of width {words[-1]}"


def count(shapes: Shapes, pattern: str) -> int:
    """How many different numbers a name's pattern has."""
    return len({found.group(1) for found in map(re.compile(pattern).match, shapes) if found})
