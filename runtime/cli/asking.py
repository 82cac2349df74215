"""Pictures and saved scenes in, answers out, in the order of the inputs; one that cannot be read stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.inputs import is_scene
from runtime.errors import PictureError, SceneError
from runtime.localization import Localization
from runtime.localizer import Localizer
from runtime.pictures import Pixels, read_picture
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


class PictureReader:
    """Reads pictures when they are asked for, skips those that cannot be read and remembers why."""

    def __init__(self, sources: Sequence[Path]) -> None:
        self.sources = sources
        self.failures: dict[Path, str] = {}
        self.current = Path()

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Pixels]:
        for source in self.sources:
            try:
                pixels = read_picture(source)
            except PictureError as error:
                self.failures[source] = str(error)
            else:
                self.current = source
                yield pixels


@dataclass(frozen=True)
class Asker:
    """Answers the same queries for many inputs; `saved` names the scene files to write on the way."""

    localizer: Localizer
    queries: list[str]
    saved: Mapping[Path, Path]
    progress: Progress

    def outcomes(self, sources: Sequence[Path]) -> Iterator[Outcome]:
        """One outcome per input, in order."""
        reader = PictureReader([source for source in sources if not is_scene(source.name)])
        answers = self.saving(reader) if self.saved else self.packed(reader)
        ready: list[Localization] | None = None
        for source in sources:
            if is_scene(source.name):
                yield self.from_scene(source)
                continue
            if ready is None and source not in reader.failures:
                ready = next(answers, None)  # reading on may tell that this very picture is broken
            if source in reader.failures:
                yield Outcome(source, [], reader.failures[source])
            elif ready is not None:
                yield Outcome(source, ready)
                ready = None

    def packed(self, reader: PictureReader) -> Iterator[list[Localization]]:
        """Answers with the passes of neighbouring pictures packed into full batches."""
        maps = self.localizer.plan.most_passes(self.localizer.manifest.maps.count)

        def count(done: int, total: int) -> None:
            self.progress(done, max(done, total - maps * len(reader.failures)))

        yield from self.localizer.stream(reader, self.queries, progress=count)

    def saving(self, reader: PictureReader) -> Iterator[list[Localization]]:
        """Answers by way of scenes, each written as soon as it is whole."""
        maps, before = self.localizer.plan.most_passes(self.localizer.manifest.maps.count), 0
        for index, pixels in enumerate(reader):
            waiting = maps * max(0, len(reader) - len(reader.failures) - index - 1)

            def count(done: int, total: int, before: int = before, waiting: int = waiting) -> None:
                self.progress(before + done, before + total + waiting)

            scene = self.localizer.encode(pixels, progress=count)
            scene.save(self.saved[reader.current])
            before += scene.passes
            yield self.localizer.locate(scene, self.queries)

    def from_scene(self, source: Path) -> Outcome:
        """Answers from a saved scene, without any pass."""
        try:
            return Outcome(source, self.localizer.locate(Scene.load(source), self.queries))
        except SceneError as error:
            return Outcome(source, [], str(error))
