"""What outlives a rerun of the page: open models, encoded pictures, and the work that goes on beside it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import streamlit as st

from engine.frame import Frame
from engine.spec import Spec
from runtime.app.controls import Settings
from runtime.app.pictures import Chosen
from runtime.app.scene_cache import SceneCache
from runtime.app.watching import Watching
from runtime.localization import Localization
from runtime.localizer import Localizer
from runtime.query import as_queries
from runtime.scene import Scene

MOST_MODELS = 3  # open at once, for all sessions together


@st.cache_resource(max_entries=MOST_MODELS, show_spinner="opening the model")
def open_model(settings: Settings) -> Localizer:
    """An open model; sessions with the same settings share it."""
    chosen: dict[str, Any] = {name: getattr(settings, name) for name in ("method", "device", "preset", "spec")}  # of pickers
    return Localizer(settings.model, download=False, **chosen)


@st.cache_resource(show_spinner=False)
def scenes() -> SceneCache:
    """Encoded pictures of all sessions."""
    return SceneCache()


def answers_at(localizer: Localizer, scene: Scene, queries: Sequence[str], spec: Spec) -> list[Localization]:
    """Answers to a scene as it is, without a further pass."""
    asked = as_queries(list(queries), localizer.templates)
    return localizer.with_spec(spec).opened.ask(scene, asked, localizer.text.embed(asked))


def smaller(scene: Scene, picture: Chosen) -> Scene:
    """The scene of the picture as the page shows it: sliders then need not spread maps over millions of pixels."""
    height, width = picture.view.shape[:2]
    frame = Frame.fit((height, width), scene.frame.side, scene.frame.geometry)
    view = copy.copy(scene)
    object.__setattr__(view, "frame", frame)
    object.__setattr__(view, "picture", picture.view)
    return view


def working() -> Watching | None:
    """The work that this session has begun, if it goes on."""
    work = st.session_state.get("work")
    return work if isinstance(work, Watching) else None
