"""The controls of the app: pickers filled with what is installed, and sliders that cost no pass."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from engine.manifest import Manifest
from engine.methods import METHODS, askable
from engine.spec import DEFAULT, SPECS, Spec
from runtime.app.scene_cache import SceneKey
from runtime.bundles import DEFAULT_MODEL, find_bundle, installed, read_manifest
from runtime.devices import findings
from runtime.drawing import COLOURS, colour_of
from runtime.errors import VlscoreError
from runtime.presets import PRESETS

MOST_QUERIES = len(COLOURS)
EXAMPLE_QUERIES = "a guitar\na microphone\na high heel"


@dataclass(frozen=True)
class Settings:
    """What is opened, and how pictures are encoded."""

    model: str
    method: str
    preset: str
    device: str
    spec: str

    def key(self, picture: str, method: str | None = None) -> SceneKey:
        """Under which a scene is kept."""
        geometry = SPECS[self.spec].geometry
        return SceneKey(picture, self.model, self.device, self.preset, method or self.method, geometry)


@dataclass(frozen=True)
class View:
    """How answers are cut and drawn; nothing of it needs a pass."""

    spec: Spec
    shown: str
    strength: float


@st.cache_data(show_spinner=False, ttl=60)
def models_here() -> dict[str, Manifest]:
    """Manifests of the bundles of this machine, by name; damaged ones are left out."""
    found = {}
    for name in installed():
        try:
            found[name] = read_manifest(find_bundle(name))
        except VlscoreError:
            continue
    return found


@st.cache_data(show_spinner=False)
def devices_here() -> list[str]:
    """Devices that can be used."""
    return ["auto", *(finding.device for finding in findings() if finding.usable)]


def methods_of(manifest: Manifest) -> list[str]:
    """The methods that a bundle can be asked by."""
    return list(askable(manifest.methods, manifest.tower))


def presets_of(manifest: Manifest) -> list[str]:
    """The presets that a bundle has graphs for."""
    return [name for name in PRESETS if name != "instant" or "instant" in manifest.graphs]


def settings() -> Settings:
    """Pickers of model, layer, method, preset and device."""
    here = models_here()
    backbones = sorted({manifest.backbone for manifest in here.values()}, key=lambda name: (name != DEFAULT_MODEL, name))
    backbone = st.selectbox("Model", backbones, key="backbone", help="`vlscore pull RN50` makes another one.")
    builds = [name for name, manifest in here.items() if manifest.backbone == backbone]
    model = st.selectbox("Layer and build", builds, key="model", format_func=lambda name: build_label(name, here[name]))
    manifest = here[model]
    method = st.selectbox("Method", methods_of(manifest), key="method", help="More with `vlscore pull MODEL --methods all`.")
    presets = [name for name in presets_of(manifest) if name in METHODS[method].presets]
    preset = st.selectbox("Preset", presets, key="preset", help="`exact` runs every map, `fast` some, `instant` takes one pass.")
    device = st.selectbox("Device", devices_here(), key="device")
    spec = st.selectbox("Spec", list(SPECS), key="spec", help="`paper` is the published algorithm.")
    return Settings(model, method, preset, device, spec)


def build_label(name: str, manifest: Manifest) -> str:
    """What distinguishes the builds of one model."""
    maps = manifest.maps
    layer = maps.layer if maps.layer else maps.source
    weights = "" if name == manifest.backbone else f", {name}"
    return f"{layer}, {maps.count} maps, {manifest.precision}{weights}"


def descriptions() -> list[str]:
    """What to look for, a line each."""
    text = st.text_area(
        "What to look for, one per line", EXAMPLE_QUERIES, key="queries", height=110, max_chars=2000, placeholder="a red bus"
    )
    lines = list(dict.fromkeys(" ".join(line.split()) for line in (text or "").splitlines() if line.strip()))
    if len(lines) > MOST_QUERIES:
        st.caption(f"The first {MOST_QUERIES} are asked.")
    return lines[:MOST_QUERIES]


def view(spec: Spec, method: str) -> View:
    """Sliders that begin where the spec stands; the scene stays as it is."""
    own = f"{spec.name}-{method}"
    shown = st.radio("Show", ["Boxes", "Heat", "Masks"], key=f"shown-{own}", horizontal=True)
    strength = st.slider("Strength of heat and masks", 0.0, 1.5, 1.0, 0.1, key="strength")
    threshold = st.slider("Threshold", 0.05, 0.95, spec.threshold, 0.05, key=f"threshold-{own}")
    masked = METHODS[method].family == "masked"  # the others have neither
    temperature = st.slider("Temperature", 0.1, 5.0, spec.temperature, 0.1, key=f"temperature-{own}", disabled=not masked)
    contrast = st.slider("Contrast", 0.0, 3.0, spec.contrast, 0.05, key=f"contrast-{own}", disabled=not masked)
    outline = st.toggle("Follow outlines", spec.outline == "picture", key=f"outline-{own}")
    changes: dict[str, object] = {"threshold": threshold, "temperature": temperature, "contrast": contrast}
    changes["cut"] = spec.cut if threshold == spec.threshold else "peak"  # Otsu's method would take no notice of a threshold
    changes["outline"] = "picture" if outline and spec.base == DEFAULT.base else "grid"
    changes["dilate"] = st.slider("Grow bright parts", 0.0, 0.1, spec.dilate, 0.01, key=f"dilate-{own}")
    changes["erode"] = st.slider("Shrink bright parts", 0.0, 0.1, spec.erode, 0.01, key=f"erode-{own}")
    return View(spec.replace(**changes), str(shown), strength)


def swatch(number: int) -> str:
    """The colour of a query, as a dot for the page."""
    red, green, blue = colour_of(number)
    return f"<span style='color:rgb({red},{green},{blue});-webkit-text-stroke:1px #444'>&#9679;</span>"
