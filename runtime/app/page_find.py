"""The page "Find it": the first answer after one pass, better ones while passes run, sliders that need none."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from runtime.app import downloads, state
from runtime.app.controls import View, swatch, view
from runtime.app.now import Now
from runtime.app.pictures import Chosen
from runtime.app.scene_cache import SceneKey
from runtime.app.watching import Watching
from runtime.drawing import draw
from runtime.errors import VlscoreError
from runtime.localization import Localization
from runtime.localizer import Localizer
from runtime.pictures import Pixels
from runtime.scene import Scene

TICK_S = 0.3  # between two looks at work that goes on


def show(now: Now) -> None:
    """Draw the page."""
    if now.picture is None:
        st.info("Choose a picture, or take the example; then say what to look for.", icon=":material/image_search:")
        return
    if not now.queries:
        st.info("Say what to look for, one thing per line.", icon=":material/edit:")
        st.image(now.picture.view, width="stretch")
        return
    try:
        localizer = state.open_model(now.settings)
    except (VlscoreError, OSError) as error:
        st.error(str(error), icon=":material/error:")
        return
    key = now.settings.key(now.picture.digest)
    begin_or_leave(now, localizer)
    adjustable(now, localizer, key)


@st.fragment  # a slider draws only this anew, not the whole page
def adjustable(now: Now, localizer: Localizer, key: SceneKey) -> None:
    """The answers, and the sliders beside them."""
    main, beside = st.columns([5, 2], gap="medium")  # in this order they stand below one another on a phone
    with beside:
        chosen = view(localizer.spec, now.settings.method)
    with main:
        answered(now, localizer, key, chosen)


def answered(now: Now, localizer: Localizer, key: SceneKey, chosen: View) -> None:
    """The picture with its answers, as far as they are known."""
    if now.picture is None:
        return
    work, scene = state.working(), state.scenes().get(key)
    if work is not None and work.key == key and work.error:
        st.error(work.error, icon=":material/error:")
    elif work is not None and work.key == key and work.running:
        follow(now, localizer, work, chosen)
    elif work is not None and work.key == key and work.scene is not None and scene is None:
        result(now.picture, localizer, work.scene, now.queries, chosen)  # stopped; its batch is still running
    elif scene is not None:
        result(now.picture, localizer, scene, now.queries, chosen)
    else:
        st.image(now.picture.view, width="stretch")
        st.caption("Press **Find it!**")


def begin_or_leave(now: Now, localizer: Localizer) -> None:
    """Begin to encode when asked; leave work on another picture or with other settings."""
    if now.picture is None:
        return
    key, work = now.settings.key(now.picture.digest), state.working()
    if work is not None and work.running and work.key != key:
        work.stop()
    going = work is not None and work.running and work.key == key
    known = state.scenes().get(key)
    short = work is not None and work.key == key and work.stopped.is_set() and known is not None and known.preset == "fast"
    if st.session_state.get("asked") and not going and (known is None or short):
        seen = now.picture.pixels if known is None else known
        st.session_state["work"] = Watching(localizer, seen, now.queries, key, state.scenes())
    st.session_state["asked"] = False


def follow(now: Now, localizer: Localizer, work: Watching, chosen: View) -> None:
    """Look at the work every now and then, until it is done; the page as a whole is drawn anew then."""

    @st.fragment(run_every=TICK_S)
    def look() -> None:
        if not work.running:
            st.rerun()
        share, left = min(1.0, work.passes / max(1, work.total)), work.seconds_left
        told = f"{work.passes} of up to {work.total} passes" + (f", about {left:.0f} s left" if left is not None else "")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(share, text=told)
            st.button("Stop", key="stop", on_click=work.stop, icon=":material/stop_circle:")
        picture = now.picture
        if work.scene is None or picture is None:
            if picture is not None:
                st.image(picture.view, width="stretch")
            return
        answers = state.answers_at(localizer, state.smaller(work.scene, picture), now.queries, chosen.spec)
        st.image(drawn(picture, answers, chosen), width="stretch", output_format="JPEG")
        verdicts(answers, localizer)

    look()


def result(picture: Chosen, localizer: Localizer, scene: Scene, queries: Sequence[str], chosen: View) -> None:
    """The answers to an encoded picture."""
    answers = state.answers_at(localizer, state.smaller(scene, picture), queries, chosen.spec)
    st.image(drawn(picture, answers, chosen), width="stretch", output_format="JPEG")
    verdicts(answers, localizer)
    ran = "1 pass was run" if scene.passes == 1 else f"{scene.passes} passes were run"
    note = f"{ran} for this picture ({scene.preset}); none for sliders and further questions."
    st.caption(note)

    def whole() -> list[Localization]:
        return state.answers_at(localizer, scene, queries, chosen.spec)

    downloads.offer(picture.name, picture.pixels, whole, chosen.shown == "Heat")


def drawn(picture: Chosen, answers: Sequence[Localization], chosen: View) -> Pixels:
    """The view of the picture with its answers."""
    if chosen.shown == "Heat":
        return draw(picture.view, list(answers), heat=True, strength=chosen.strength)
    return draw(picture.view, list(answers), heat=False, masks=chosen.shown == "Masks", together=True, strength=chosen.strength)


def verdicts(answers: Sequence[Localization], localizer: Localizer) -> None:
    """A line per question: found, or not in this picture, with the margin that says so."""
    least = 0.0 if localizer.method.family != "masked" else localizer.manifest.presence
    for number, answer in enumerate(answers):
        if len(answer):
            several = f" in {len(answer)} places" if len(answer) > 1 else ""
            told = f"found{several}, score {answer.scores[0]:.2f}"
        elif answer.present:
            told = "there, but no part of the map is bright enough for a box: lower the threshold"
        else:
            told = "**not in this picture**"
        wanted = f", {least:.3f} are needed" if least else ""
        words = answer.query.replace("\\", "\\\\").translate({ord(mark): f"\\{mark}" for mark in "`*_[]<>$:"})
        st.markdown(
            f"{swatch(number)} **{words}**: {told} <small>(margin {answer.margin:.3f}{wanted})</small>", unsafe_allow_html=True
        )
