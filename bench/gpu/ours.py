"""Our own ways on any device: whole pictures under the clock. Nothing here imports PyTorch."""

from __future__ import annotations

import time

from bench.compare.job import Agreement, Turn, UnavailableError
from bench.compare.ours import Ours

TURN_S = 0.4  # pictures are repeated until a turn took this long
MOST = 20


class OnDevice(Ours):
    """`Localizer` with a device, a precision, a preset and a bundle; answers are on the host, so the device is done."""

    def check(self) -> Agreement:
        """As everywhere, and then a picture that warms everything up; a device that was not asked for is no device."""
        asked = self.options["device"].partition(":")[0]
        if self.localizer.device.partition(":")[0] != asked:
            raise UnavailableError(f"asked for `{asked}`, but it runs on `{self.localizer.device}`")
        agreement = super().check()
        self.picture_once()
        return agreement

    def turn(self) -> Turn:
        """Whole pictures, from pixels to boxes, until they took long enough."""
        passes, spent, pictures = 0, 0.0, 0
        while pictures < 1 or (spent < TURN_S and pictures < MOST):
            done = self.picture_once()
            passes, spent, pictures = passes + done[0], spent + done[1], pictures + 1
        return Turn(passes, spent) if self.preset == "exact" else Turn(0, 0.0, once=spent / pictures)

    def picture_once(self) -> tuple[int, float]:
        """One picture and its answer: passes and seconds."""
        started = time.perf_counter()
        found = self.localizer.locate(self.localizer.encode(self.picture), self.job.query)
        return found.passes, time.perf_counter() - started
