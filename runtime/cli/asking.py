"""Pictures and saved scenes in, answers out, in the order of the inputs; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.errors import describe
from runtime.cli.inputs import is_scene
from runtime.localization import Localization
from runtime.localizer import Localizer
from runtime.scene import Scene

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Outcome:
    """One input's answers, or why it has none."""

    source: Path
    found: list[Localization]
    error: str = ""

    @property
    def passes(self) -> int:
        """Passes that were run for it now."""
        return 0 if is_scene(self.source.name) or not self.found else self.found[0].passes


@dataclass(frozen=True)
class Asker:
    """Asks the same queries of many inputs; `saved` names the scene files to write on the way."""

    localizer: Localizer
    queries: list[str]
    saved: Mapping[Path, Path]
    progress: Progress

    def outcomes(self, sources: Sequence[Path]) -> Iterator[Outcome]:
        """One outcome per input, in order; the passes of neighbouring pictures share batches."""
        failed: dict[object, str] = {}
        pictures = [source for source in sources if not is_scene(source.name)]
        most = self.localizer.plan.most_passes(self.localizer.manifest.maps.count)

        def count(done: int, total: int) -> None:
            self.progress(done, max(done, total - most * len(failed)))

        def skip(picture: object, error: Exception) -> None:
            failed[picture] = describe(error)

        scenes = self.localizer.scenes(pictures, progress=count, on_skip=skip) if pictures else iter(())
        ready: Scene | None = None
        for source in sources:
            if is_scene(source.name):
                yield self.ask(source, None)
                continue
            if ready is None and source not in failed:
                ready = next(scenes, None)  # reading on may tell that this very picture is broken
            if source in failed:
                yield Outcome(source, [], failed[source])
            elif ready is not None:
                scene, ready = ready, None
                yield self.ask(source, scene)

    def ask(self, source: Path, encoded: Scene | None) -> Outcome:
        """Answer one input, a picture just encoded or a saved scene; whatever goes wrong with it is its outcome."""
        try:
            scene = Scene.load(source) if encoded is None else encoded
            if source in self.saved:
                scene.save(self.saved[source])
            return Outcome(source, self.localizer.locate(scene, self.queries))
        except Exception as error:  # of any kind: the other inputs go on
            return Outcome(source, [], describe(error))
