"""The page "What did the model see": the maps that count most for a question, their masks, scores and weights."""

from __future__ import annotations

import cv2
import numpy as np
import streamlit as st

from engine.masks import masks
from engine.methods import DEFAULT_METHOD
from runtime.app import state
from runtime.app.now import Now
from runtime.app.weights import Weighed, weigh
from runtime.pictures import Pixels
from runtime.scene import Scene

MOST_MAPS = 24


def show(now: Now) -> None:
    """Draw the page."""
    scene = None if now.picture is None else state.scenes().get(now.settings.key(now.picture.digest))
    if now.picture is None or scene is None or not now.queries:
        st.info("Find something first; then come back to see what the model saw.", icon=":material/visibility:")
        return
    if now.settings.method != DEFAULT_METHOD:
        st.info(f"This page explains `{DEFAULT_METHOD}`; take it as the method.", icon=":material/visibility:")
        return
    localizer = state.open_model(now.settings)
    query = st.selectbox("Question", now.queries, key="inside_query")
    count = st.slider("Maps to show", 4, MOST_MAPS, 8, 4, key="inside_count")
    found = weigh(localizer, scene, query)
    kept = int((found.scores > 0).sum())
    first, second, third = st.columns(3)
    first.metric("Maps that beat the blank picture", f"{kept} of {len(found.scores)}")
    second.metric("Best score", f"{found.scores.max():.3f}")
    third.metric("Share of the 10 heaviest maps", f"{np.sort(found.weights)[-10:].sum():.0%}")
    st.caption(
        "Each map masks the picture; the model sees what is left, and its score is how much nearer to the words that comes "
        "than a blank picture does. Scores above zero become weights; the weighted sum of maps is the heat."
    )
    columns = st.columns(4)
    for place, index in enumerate(np.argsort(-found.weights)[:count].tolist()):
        with columns[place % 4]:
            st.image(masked(now.picture.view, scene, index), width="stretch")
            sort = "" if scene.known[index] else ", predicted"
            st.caption(f"map {index}: score {found.scores[index]:+.3f}, weight {found.weights[index]:.1%}{sort}")
    chart(found)


def masked(pixels: Pixels, scene: Scene, index: int) -> Pixels:
    """What the model saw through one map: the picture times the map, spread over its square."""
    side = scene.frame.side
    mask = masks(scene.maps[index : index + 1], side)[0]
    square = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(square * np.clip(mask, 0, 1)[:, :, np.newaxis]), dtype=np.uint8)


def chart(found: Weighed) -> None:
    """Scores of all maps, best first, and where the blank picture stands."""
    st.markdown("**Scores of all maps against the blank picture**, best first")
    st.area_chart({"score": np.sort(found.scores)[::-1]}, height=180)
    st.markdown("**Weights of the heaviest 50**")
    st.bar_chart({"weight": np.sort(found.weights)[::-1][:50]}, height=180)
