"""Encoding that goes on beside the page, which looks at its latest answer until it is done or stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from runtime.app.scene_cache import SceneCache, SceneKey
from runtime.errors import VlscoreError
from runtime.localizer import Localizer
from runtime.logs import LOG
from runtime.pictures import Pixels
from runtime.query import as_queries
from runtime.scene import Scene

ONE_AT_A_TIME = threading.Semaphore(1)  # passes use all processors: two at once would only wait for each other


class Watching:
    """A thread that runs a picture's passes, best first; what is known so far may be asked at any time.

    `seen` is the picture, or a scene that was stopped short and is gone on with.
    """

    def __init__(
        self, localizer: Localizer, seen: Pixels | Scene, queries: Sequence[str], key: SceneKey, cache: SceneCache
    ) -> None:
        self.localizer, self.seen, self.queries, self.key, self.cache = localizer, seen, list(queries), key, cache
        self.scene = seen if isinstance(seen, Scene) else None
        self.error = ""
        self.passes, self.total = 0, localizer.plan.most_passes(localizer.manifest.maps.count, len(queries))
        self.started = time.monotonic()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, name="vlscore-app", daemon=True)
        self.thread.start()

    @property
    def running(self) -> bool:
        """Whether passes go on."""
        return self.thread.is_alive() and not self.stopped.is_set()

    @property
    def seconds_left(self) -> float | None:
        """How long it may take still, as fast as it has gone so far."""
        if self.passes < 2:
            return None
        return (time.monotonic() - self.started) / self.passes * max(0, self.total - self.passes)

    def stop(self) -> None:
        """End after the batch that runs now; what is known by then stays."""
        self.stopped.set()

    def scenes(self) -> Iterator[Scene]:
        """What is known after every step; methods that take one pass, or those that a question chooses, have one."""
        method = self.localizer.method
        if method.needs:
            scene = self.seen if isinstance(self.seen, Scene) else self.localizer.encode(self.seen)
            yield self.localizer.refine(scene, self.queries) if method.family == "masked" else scene
        else:
            texts = self.localizer.text.embed(as_queries(self.queries, self.localizer.templates))
            yield from self.localizer.opened.watcher.scenes(self.seen, texts, None)

    def run(self) -> None:
        """Run the passes; whatever goes wrong is a sentence on the page."""
        try:
            with ONE_AT_A_TIME:
                self.started = time.monotonic()
                for scene in self.scenes():
                    self.scene, self.passes = scene, scene.passes
                    if self.stopped.is_set():
                        break
            if self.scene is not None:
                self.cache.put(self.key, self.scene)
        except (VlscoreError, MemoryError) as error:
            self.error = str(error) or type(error).__name__
        except Exception as error:  # of any kind: a page that waits for ever would be worse
            LOG.exception("encoding failed")
            self.error = f"{type(error).__name__}: {error}"
