"""Pictures and saved scenes in, answers out, in the order of the inputs; one that fails stops no other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.errors import describe
from runtime.cli.inputs import Source, VideoFrame, is_scene
from runtime.errors import PictureError
from runtime.localization import Localization
from runtime.localizer import Localizer
from runtime.logs import LOG
from runtime.pictures import Picture
from runtime.scene import Scene
from runtime.videos import Video

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Outcome:
    """One input's answers, or why it has none."""

    source: Source
    found: list[Localization]
    error: str = ""

    @property
    def passes(self) -> int:
        """Passes that were run for it now."""
        return 0 if is_scene(self.source.name) or not self.found else self.found[0].passes


class Feed:
    """The pictures behind the sources, one at a time: files by their path, frames of videos by their pixels."""

    def __init__(self, sources: Sequence[Source], failed: dict[Source, str]) -> None:
        self.sources, self.failed = sources, failed
        self.current: Source = Path()

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Picture]:
        with contextlib.ExitStack() as stack:
            video: Video | None = None
            for source in self.sources:
                self.current = source
                if not isinstance(source, VideoFrame):
                    yield source
                    continue
                try:
                    if video is None or video.path != source.path:
                        stack.close()
                        video = stack.enter_context(Video(source.path))
                    frame = video.at(source.second)
                except PictureError as error:
                    self.failed[source] = describe(error)
                else:
                    yield frame


@dataclass(frozen=True)
class Asker:
    """Asks the same queries of many inputs; `saved` names the scene files to write on the way."""

    localizer: Localizer
    queries: list[str]
    saved: Mapping[Source, Path]
    progress: Progress

    def outcomes(self, sources: Sequence[Source]) -> Iterator[Outcome]:
        """One outcome per input, in order; the passes of neighbouring pictures share batches."""
        failed: dict[Source, str] = {}
        pictures = Feed([source for source in sources if not is_scene(source.name)], failed)
        most = self.localizer.plan.most_passes(self.localizer.manifest.maps.count)

        def count(done: int, total: int | None) -> None:
            self.progress(done, total and max(done, total - most * len(failed)))

        def skip(_: object, error: Exception) -> None:
            failed[pictures.current] = describe(error)

        scenes = self.localizer.scenes(pictures, progress=count, on_skip=skip) if len(pictures) else iter(())
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

    def ask(self, source: Source, encoded: Scene | None) -> Outcome:
        """Answer one input, a picture just encoded or a saved scene; whatever goes wrong with it is its outcome."""
        try:
            scene = Scene.load(source) if encoded is None else encoded
            if source in self.saved:
                scene.save(self.saved[source])
            found = self.localizer.locate(scene, self.queries)
            LOG.info("%s: %d passes, %d boxes", source, scene.passes, sum(map(len, found)))
            return Outcome(source, found)
        except Exception as error:  # of any kind: the other inputs go on
            return Outcome(source, [], describe(error))
