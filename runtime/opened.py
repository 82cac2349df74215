"""An opened model: a bundle on a device, which hands out its graphs as sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.manifest import IMAGE_HALF, TEXT_GRAPHS, Manifest
from runtime.backends.fallback import FallbackSession
from runtime.backends.session import Backend, LazySession, Session
from runtime.bundles import Bundle
from runtime.checks import check_backend
from runtime.devices import Device, open_for
from runtime.precision import Precision, check_built, choose_precision


class OpenModel:
    """A bundle on the device and in the precision that were chosen. Threads may share it."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: Device = "auto",
        device_options: Mapping[str, Any] | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
        backend: Backend | None = None,
    ) -> None:
        """Open the device, or take the backend that is given."""
        self.bundle = bundle
        self.sessions: dict[tuple[str, str], LazySession] = {}
        if backend is None:
            self.backend, self.precision, self.chosen = open_for(self.manifest, device, precision, threads, device_options)
        else:
            check_backend(backend)
            check_built(precision, self.manifest.precision)
            self.backend, self.chosen = backend, "given"
            self.precision = choose_precision(precision, self.manifest.precision, backend)

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self.bundle.manifest

    def session(self, graph: str, precision: str = "") -> Session:
        """A graph of the bundle, loaded once, when it is first run; only masked passes are ever run in less than float32."""
        chosen = precision if precision in ("bf16", "tf32") else "fp32"
        if (graph, chosen) not in self.sessions:  # to ask for a method's graph is to read its file
            fresh = LazySession(self.backend, self.bundle.graph(graph), chosen, self.bundle.check_unchanged)
            self.sessions.setdefault((graph, chosen), fresh)
        return self.sessions[graph, chosen]

    def texts(self) -> dict[str, Session]:
        """The graphs of words."""
        return {name: self.session(name) for name in TEXT_GRAPHS if name in self.manifest.graphs}

    def image_half(self) -> dict[str, Session]:
        """The graphs of pictures."""
        graphs = [name for name in IMAGE_HALF if name in self.manifest.graphs]
        sessions = {name: self.session(name, self.precision if name == "masked-small" else "") for name in graphs}
        sessions["masked"] = self.masked()
        return sessions

    def masked(self) -> Session:
        """The masked graph, with the fallbacks that the bundle has for it."""
        masked, graphs = self.session("masked", self.precision), self.manifest.graphs
        small = graphs.get("masked-small")
        if small is None and "masked-fp32" not in graphs:
            return masked
        return FallbackSession(
            masked,
            small=None if small is None else (self.session("masked-small", self.precision), small.inputs["which"][1][0]),
            full=self.session("masked-fp32") if "masked-fp32" in graphs else None,
        )

    @property
    def info(self) -> dict[str, Any]:
        """Model, weights and device, for logs and reports."""
        manifest = self.manifest
        return {
            "model": manifest.backbone,
            "weights": manifest.weights.tag,
            "trained": manifest.weights.trained,
            "bundle": str(self.bundle.folder),
            "sha256": self.bundle.sha256,
            "device": self.backend.device,
            "backend": self.backend.detail,
            "chosen": self.chosen,
            "precision": self.precision,
            "batch": manifest.batch,
            "maps": manifest.maps.count,
        }
