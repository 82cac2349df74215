"""How much work a picture is worth: all its passes, a few from which the rest is predicted, or one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from engine.manifest import Manifest
from engine.records import shown
from runtime.errors import BundleError, PresetError

Preset = Literal["exact", "fast", "instant"]
PRESETS: tuple[str, ...] = get_args(Preset)

GUESSED_SHARE = 24  # `fast` runs one map in so many for a query, in whole batches, where one pass guesses them all
FIRST_SHARE = 32  # where none does, it first runs one map in so many
WHOLE_SHARE = 8  # and, with those that a query asks for, one in so many
FEWEST = 24  # of a transformer's few maps, too, a query wants so many
LEAST = 2  # from a single pass nothing can be predicted
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class PassPlan:
    """What a Localizer spends: passes before any query is known, and further ones for each query.

    With `auto` a query's further passes end as soon as the answer's own error estimate is small, at the latest when
    all maps were run.
    """

    preset: Preset = "exact"
    passes: int = 0
    refine: int = 0
    auto: bool = False

    def most_passes(self, maps: int, queries: int = 0) -> int:
        """Passes that a picture may take at most, for the progress display."""
        if self.preset == "instant":
            return 1
        if self.preset == "exact" or (self.auto and queries):
            return maps
        return min(maps, self.passes + queries * self.refine)

    def further_passes(self, maps: int, queries: int) -> int:
        """Passes that a picture may take at most once queries are known, beside those before."""
        return self.most_passes(maps, queries) - self.most_passes(maps)


EXACT = PassPlan()


def plan_passes(manifest: Manifest, preset: str, passes: int | str | None, refine: int | None) -> PassPlan:
    """Settle the numbers that were left open; raises PresetError for a combination that means nothing."""
    if not isinstance(preset, str) or preset not in PRESETS:
        raise PresetError(f"preset {shown(preset)} is unknown; choose from {', '.join(PRESETS)}")
    if preset != "fast" and (passes is not None or refine is not None):
        raise PresetError(
            f'`passes` and `refine` belong to `preset="fast"`, not to `{preset}`; leave them out, or ask for `fast`'
        )
    if preset == "exact":
        return EXACT
    if preset == "instant":
        check_instant(manifest)
        return PassPlan("instant")
    count, batch = manifest.maps.count, manifest.small_batch
    auto, guessed = isinstance(passes, str) and passes == "auto", "instant" in manifest.graphs
    least = 0 if guessed else LEAST
    usual = 0 if guessed else max(batch, count // FIRST_SHARE // batch * batch, LEAST)
    first = usual if passes is None or auto else whole("passes", passes, least)
    if refine is not None:
        return PassPlan("fast", first, whole("refine", refine, 0), auto)
    share = max(FEWEST, count // GUESSED_SHARE) if guessed else count // WHOLE_SHARE
    batches = max(1, math.ceil((share - first) / batch))
    return PassPlan("fast", first, batches * batch, auto)


def whole(name: str, value: int | str, least: int) -> int:
    """Check a count."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        also = ' or "auto"' if name == "passes" else ""
        raise PresetError(f"`{name}` must be a whole number from {least} to {MOST}{also}, got {shown(value)}")
    return value


def check_instant(manifest: Manifest) -> None:
    """Refuse `instant` where the bundle has no graph for it."""
    if "instant" in manifest.graphs:
        return
    raise BundleError(
        f"this bundle of {manifest.backbone} was made before `instant` existed for it; build it again: "
        f"`python -m export.build --backbone {manifest.backbone} --force`"
    )
