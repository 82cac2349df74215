"""Every method of localization by name: one row each, which says how it looks at a picture and how it is asked.

A row is data. `export/dense.py` reads the switches of its `Head` when a graph is built; `engine/dense.py` and the runtime read
the rest when a question is asked. Another method of the dense family is another row.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from engine.errors import VlscoreError
from engine.heads import Head, Similarity
from engine.records import quoted, shown
from engine.spec import DEFAULT, Cut, Spec

Family = Literal["masked", "dense", "prompted", "refinement"]
Tower = Literal["resnet", "vit"]
# What becomes of the products of features and words: see `engine/dense.py`.
Ask = Literal["softmax", "relu", "surgery", "layers", "given", "against"]
BOTH: tuple[Tower, ...] = ("resnet", "vit")
VIT: tuple[Tower, ...] = ("vit",)
RESNET: tuple[Tower, ...] = ("resnet",)


class MethodError(VlscoreError, ValueError):
    """A method is unknown, or not defined where it was asked for."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method: where it was published, its family, the towers it is defined for, and how it is asked."""

    name: str
    paper: str
    family: Family
    towers: tuple[Tower, ...]
    head: Head | None = None  # how its own graphs are made; none where those of every bundle do
    ask: Ask = "softmax"
    kappa: float = 40.0  # what cosines are multiplied by before they compete, for a logit scale of 100
    templates: str = "plain"
    background: bool = True  # whether nouns of backgrounds compete when the model knows them
    threshold: float = 0.4  # of boxes, as a share of the map's maximum; chosen in the emoji world where it was measured
    cut: Cut = "peak"  # what maps are cut at; `otsu` needs no threshold
    presets: tuple[str, ...] = ("exact",)
    parts: tuple[str, ...] = ()  # two methods whose maps are multiplied; the first one says whether a thing is there

    def on(self, tower: Tower) -> bool:
        """Whether the method is defined for a kind of image tower."""
        return tower in self.towers

    @property
    def first(self) -> Method:
        """The method whose evidence and answers come first: itself, unless it multiplies others."""
        return METHODS[self.parts[0]] if self.parts else self

    @property
    def needs(self) -> tuple[str, ...]:
        """The methods whose graphs it needs, beside those of every bundle."""
        return tuple(part for part in self.parts or (self.name,) if METHODS[part].head is not None)

    @property
    def spec(self) -> Spec:
        """What `default` means for it: only VL-Score takes away what is common to all maps."""
        if self.family != "masked" or self.parts:
            return DEFAULT.replace(threshold=self.threshold, cut=self.cut)
        return DEFAULT if self.name == DEFAULT_METHOD else DEFAULT.replace(threshold=self.threshold, contrast=0.0)


DEFAULT_METHOD, AFFINITY = "vl-score", "affinity"
VL_SCORE = Method(DEFAULT_METHOD, "Gao & Wang 2022", "masked", BOTH, background=False, presets=("exact", "fast", "instant"))

METHODS = {
    row.name: row
    for row in (
        VL_SCORE,
        # The same masked copies in another way: no base picture; all of them, or those that the words' gradient ranks highest.
        Method("score-cam", "Wang et al. 2020", "masked", BOTH, presets=("exact", "fast", "instant")),
        Method("gscorecam", "Chen et al. 2022", "masked", RESNET, Head("channels")),
        # The last block in another way: which attention, whether its residual and MLP are kept.
        Method("tokens", "Radford et al. 2021", "dense", VIT, Head(residual="stream", ffn=True), cut="otsu"),
        Method(
            "maskclip",
            "Zhou et al. 2022",
            "dense",
            BOTH,
            Head(terms=("own",), residual="stream", ffn=True),
            threshold=0.3,
            cut="otsu",
        ),
        Method("maskclip-bare", "Zhou et al. 2022", "dense", VIT, Head(terms=("own",)), cut="otsu"),
        Method("sclip", "Wang et al. 2024", "dense", VIT, Head(terms=("qq", "kk"), residual="stream", ffn=True), cut="otsu"),
        Method(
            "cliptrase", "Shao et al. 2024", "dense", VIT, Head(terms=("qq", "kk", "vv"), residual="stream", ffn=True), cut="otsu"
        ),
        Method("clearclip", "Lan et al. 2024", "dense", VIT, Head(terms=("qq",)), kappa=50.0, cut="otsu"),
        Method("naclip", "Hajimiri et al. 2025", "dense", BOTH, Head(terms=("kk",), nearby=5.0), threshold=0.3, cut="otsu"),
        Method(
            "resclip",
            "Yang et al. 2025",
            "dense",
            VIT,
            Head(terms=("kk",), nearby=5.0, mixed=(6, 7, 8, 9), share=0.4, gain=2.0),
            cut="otsu",
        ),
        Method(
            "itaclip",
            "Aydın et al. 2025",
            "dense",
            VIT,
            Head(terms=("qq", "kk"), mixed=(7, 8, 10), mixed_terms=("qq", "kk"), share=0.5, residual="stream"),
            cut="otsu",
        ),
        # A second stream through the last blocks.
        Method(
            "surgery",
            "Li et al. 2023",
            "dense",
            BOTH,
            Head(blocks=6, dual=True, terms=("vv",), residual="stream"),
            ask="surgery",
            threshold=0.6,
        ),
        Method(
            "gem",
            "Bousselham et al. 2024",
            "dense",
            VIT,
            Head(blocks=6, dual=True, terms=("vv", "kk", "qq"), mean=True, unit=True, rounds=1, residual="stream"),
            kappa=100.0,
            cut="otsu",
        ),
        # Patches that resemble each other.
        Method(
            "sc-clip",
            "Bai et al. 2024",
            "dense",
            VIT,
            Head("similar", terms=("kk", "similar"), mean=True, residual="class", similarity=Similarity("lof")),
            cut="otsu",
        ),
        Method(
            "sfp",
            "Jin et al. 2025",
            "dense",
            VIT,
            Head(
                "similar",
                terms=("qq", "kk", "similar"),
                mean=True,
                residual="class",
                similarity=Similarity("class", second=("similar",), floored=True),
            ),
            cut="otsu",
        ),
        Method("cliper", "Sun et al. 2025", "dense", VIT, Head("layers"), ask="layers", kappa=100.0),
        # How each patch moves the embedding: linear in the text, so that these are features too.
        Method("grad-eclip", "Zhao et al. 2024", "dense", BOTH, Head("grad-eclip"), ask="relu", background=False, threshold=0.2),
        Method("grad-cam", "Selvaraju et al. 2017", "dense", BOTH, Head("grad-cam"), ask="relu", background=False, threshold=0.2),
        Method("textspan", "Gandelsman et al. 2024", "dense", VIT, Head("textspan"), ask="relu", background=False, threshold=0.2),
        # Words go into the graph, through the last blocks and back.
        Method(
            "legrad",
            "Bousselham et al. 2025",
            "prompted",
            VIT,
            Head("legrad", blocks=2),
            ask="given",
            background=False,
            threshold=0.5,
        ),
        # Eight blocks tell which patches belong together; the words go through the last one alone.
        Method("clip-es", "Lin et al. 2023", "prompted", VIT, Head("clip-es", blocks=8), ask="against", kappa=100.0, cut="otsu"),
        Method(
            "grad-cam-plus", "Chattopadhay et al. 2018", "prompted", RESNET, Head("grad-cam-plus"), ask="given", background=False
        ),
        # Maps multiplied: what both see. Chosen in the emoji world out of many pairs.
        Method(
            "vl-score-textspan",
            "ours",
            "masked",
            VIT,
            background=False,
            threshold=0.2,
            presets=VL_SCORE.presets,
            parts=("vl-score", "textspan"),
        ),
        Method("grad-eclip-naclip", "ours", "dense", RESNET, background=False, threshold=0.3, parts=("grad-eclip", "naclip")),
        Method(AFFINITY, "Lin et al. 2023", "refinement", VIT, Head("affinity", blocks=8)),
    )
}
READY = tuple(name for name, row in METHODS.items() if not row.needs)  # in every bundle, without graphs of their own


def askable(built: Collection[str], tower: Tower) -> tuple[str, ...]:
    """The methods that a bundle of a tower can be asked by, with the graphs of those that it was built with."""
    rows = [row for row in METHODS.values() if row.family != "refinement" and row.on(tower)]
    return tuple(row.name for row in rows if set(row.needs) <= set(built))


def head_of(name: str) -> Head:
    """The switches of a method that has some."""
    head = METHODS[name].head
    if head is None:
        raise MethodError(f"method `{name}` has no switches")
    return head


def find_method(name: object) -> Method:
    """Find a method by name; raises `MethodError` with near matches."""
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(str(name).lower().replace("_", "-").replace(" ", "-"), METHODS, n=3, cutoff=0.5)
    hint = f"did you mean {quoted(near)}?" if near else f"choose from {', '.join(METHODS)}"
    raise MethodError(f"method {shown(name)} is unknown; {hint}")


def named_methods(names: str, tower: Tower) -> tuple[Method, ...]:
    """The methods that a build adds: `all` that the tower defines, or names with commas between; some need no adding."""
    if names.strip() == "all":
        return tuple(row for row in METHODS.values() if row.head is not None and row.on(tower))
    found = [find_method(name.strip()) for name in names.split(",") if name.strip() not in ("", "none")]
    for row in found:
        refuse_other_tower(row, tower)
    return tuple({name: METHODS[name] for row in found for name in row.needs}.values())


def refuse_other_tower(method: Method, tower: Tower) -> None:
    """Refuse a method on a kind of image tower that it is not defined for."""
    if not method.on(tower):
        kind = {"resnet": "ResNets", "vit": "vision transformers"}
        others = ", ".join(row.name for row in METHODS.values() if row.on(tower))
        raise MethodError(
            f"method `{method.name}` is defined for {kind[method.towers[0]]} alone, and this model is one of the "
            f"{kind[tower]}; these have {others}"
        )
