"""The page "Compare methods": the same question, by several methods or presets, side by side."""

from __future__ import annotations

import dataclasses
import time

import streamlit as st

from engine.methods import DEFAULT_METHOD
from runtime.app import state
from runtime.app.controls import Settings, methods_of, models_here, presets_of
from runtime.app.now import Now
from runtime.drawing import draw
from runtime.errors import VlscoreError
from runtime.localizer import Localizer


def show(now: Now) -> None:
    """Draw the page."""
    if now.picture is None or not now.queries:
        st.info("Choose a picture, and say what to look for.", icon=":material/compare:")
        return
    query = st.selectbox("Question", now.queries, key="compare_query")
    ways = choices(now.settings)
    usual = [way for way, settings in ways.items() if settings == now.settings]
    first = [*usual, *(way for way in reversed(ways) if way not in usual)][:2]
    chosen = st.pills("Ways", list(ways), selection_mode="multi", default=first, key="compare_ways")
    if not chosen:
        st.info("Choose at least one way.")
        return
    if not st.button("Compare", key="compare", icon=":material/play_arrow:"):
        st.caption("Each is run once for a picture, and then kept.")
        return
    columns = st.columns(min(3, len(chosen)))
    for place, way in enumerate(chosen):
        with columns[place % len(columns)], st.spinner(way):
            compared(now, ways[way], way, query)


def choices(settings: Settings) -> dict[str, Settings]:
    """Settings by what they are called: every preset of `vl-score`, and every other method of the bundle."""
    manifest = models_here()[settings.model]
    own = dataclasses.replace(settings, method=DEFAULT_METHOD)
    ways = {f"{DEFAULT_METHOD}, {preset}": dataclasses.replace(own, preset=preset) for preset in presets_of(manifest)}
    others = [name for name in methods_of(manifest) if name != DEFAULT_METHOD]
    return ways | {name: dataclasses.replace(settings, method=name, preset="exact") for name in others}


def compared(now: Now, settings: Settings, way: str, query: str) -> None:
    """One way's answer, with its time; a picture encoded before takes none."""
    if now.picture is None:
        return
    try:
        localizer: Localizer = state.open_model(settings)
        key, started = settings.key(now.picture.digest), time.perf_counter()
        scene = state.scenes().get(key)
        if scene is None:
            scene = localizer.encode(now.picture.pixels)
            state.scenes().put(key, scene)
        answer = localizer.locate(state.smaller(scene, now.picture), query)
    except VlscoreError as error:
        st.error(f"{way}: {error}", icon=":material/error:")
        return
    st.image(draw(now.picture.view, answer), width="stretch", output_format="JPEG")
    verdict = f"score {answer.scores[0]:.2f}" if len(answer) else "not found"
    passes = "1 pass" if answer.passes == 1 else f"{answer.passes} passes"
    st.caption(f"**{way}**: {verdict}, {passes}, {time.perf_counter() - started:.2f} s")
