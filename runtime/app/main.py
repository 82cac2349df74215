"""The app's main page, run by Streamlit anew for every change: inputs at the left, one of three pages at the right."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from runtime.app import page_compare, page_find, page_inside
from runtime.app.controls import descriptions, settings
from runtime.app.now import Now
from runtime.app.pictures import choose, remember


def main() -> None:
    """Draw everything."""
    st.set_page_config(page_title="vlscore", page_icon=":material/frame_inspect:", layout="wide")
    st.html("<style>.block-container {padding: 4.5rem 2rem 2rem}</style>")  # Streamlit's own margins leave little for pictures
    page = st.navigation(
        [st.Page(one, title=title, url_path=path, icon=icon) for one, title, path, icon in PAGES], position="top"
    )
    with st.sidebar:
        chosen = settings()
    left, right = st.columns([2, 6], gap="medium")
    with left:
        picture = choose()
        queries = descriptions()
        st.button("Find it!", key="find", type="primary", width="stretch", on_click=remember, args=("asked",))
    st.session_state["now"] = Now(picture, queries, chosen)
    with right:
        page.run()


def find() -> None:
    """The first page."""
    page_find.show(st.session_state["now"])


def inside() -> None:
    """The second page."""
    page_inside.show(st.session_state["now"])


def compare() -> None:
    """The third page."""
    page_compare.show(st.session_state["now"])


PAGES: tuple[tuple[Callable[[], None], str, str, str], ...] = (
    (find, "Find it", "find", ":material/search:"),
    (inside, "What did the model see", "inside", ":material/visibility:"),
    (compare, "Compare methods", "compare", ":material/compare:"),
)


main()
