"""A progress bar on stderr that shows itself only when the work turns out to be long."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE_S = 0.7  # work shorter than this shows no bar


class Bar:
    """Counts passes, with the time left. Does nothing when hidden."""

    def __init__(self, shown: bool) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(32),
            MofNCompleteColumn(),
            TextColumn("passes,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # stdout may be a file: the bar must not swallow what goes there
            redirect_stderr=False,
            speed_estimate_period=600,  # on a slow machine the steps are many seconds apart
            disable=not shown,
        )
        self.task = self.progress.add_task("", total=None)
        self.lock = threading.RLock()
        self.visible = self.closed = False
        self.timer = threading.Timer(PATIENCE_S, self.show)
        self.timer.daemon = True

    def __enter__(self) -> Bar:
        if not self.progress.disable:
            self.timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.timer.cancel()
        with self.lock:
            self.closed = True
            if self.visible:
                self.progress.stop()

    def __call__(self, done: int, total: int | None) -> None:
        """Count passes, as the runtime's progress callback."""
        self.progress.update(self.task, completed=done, total=total)

    def say(self, doing: str) -> None:
        """Name what is being done."""
        self.progress.update(self.task, description=doing)

    def show(self) -> None:
        """Begin to show the bar; the timer may come just too late."""
        with self.lock:
            if not self.closed:
                self.visible = True
                self.progress.start()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        with self.lock:
            if self.visible:
                self.progress.stop()
            yield
            if self.visible:
                self.progress.start()
