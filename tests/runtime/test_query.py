"""Queries: words, synonyms and templates, and what is no query."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime import Query, QueryError
from runtime.query import as_queries, as_query


def test_a_text_is_a_query_of_one_word() -> None:
    assert Query("a dog") == Query(("a dog",), ("{}",))  # type: ignore[arg-type]
    assert Query(("a dog",)).prompts() == ["a dog"]


def test_every_word_goes_into_every_template() -> None:
    query = Query(("tench", "Tinca tinca"), ("a {}.", "the {} is a {}"))
    assert query.prompts() == ["a tench.", "the tench is a tench", "a Tinca tinca.", "the Tinca tinca is a Tinca tinca"]
    assert query.label == "tench"


def test_one_template_may_be_a_text() -> None:
    assert Query(("dog",), "a {}").prompts() == ["a dog"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "templates"),
    [("x" * 10_000, "a {}"), (["cat"] * 200, ["a {}"] * 200), ("x" * 900, "{}" * 900), ("cat", "{}" + "x" * 10_000)],
)
def test_what_would_take_all_memory_to_be_cut_off_is_refused(words: Any, templates: Any) -> None:
    with pytest.raises(QueryError, match=r"makes \d+ sentences of up to \d+ characters; give at most 10000 of 10000"):
        Query(words, templates)


@pytest.mark.parametrize("asked", [np.array("cat"), np.array(5)])
def test_an_array_without_axes_is_no_list_of_words(asked: Any) -> None:
    for ask in (Query, lambda words: Query("cat", words), lambda words: as_queries(words, ("{}",))):
        with pytest.raises(QueryError, match="must be a text or several, found array"):
            ask(asked)


def test_an_error_does_not_repeat_what_is_long() -> None:
    for bad in (lambda: Query(["cat" * 900, ""]), lambda: Query("cat", "a thing" * 900), lambda: Query("cat" * 9_000)):
        with pytest.raises(QueryError) as caught:
            bad()
        assert len(str(caught.value)) < 400


def test_braces_in_words_are_just_braces() -> None:
    assert Query(("{0} {x}",), ("a {}",)).prompts() == ["a {0} {x}"]


@pytest.mark.parametrize("words", [(), ("",), ("dog", "  \n"), "", (3,), (None,)])
def test_empty_queries_are_refused(words: Any) -> None:
    with pytest.raises(QueryError, match="is empty; give the words to look for"):
        Query(words)


def test_templates_need_a_place_for_the_words() -> None:
    with pytest.raises(QueryError, match=r"template 'a photo' has no `\{\}`"):
        Query(("dog",), ("a {}", "a photo"))
    with pytest.raises(QueryError, match="has no template"):
        Query(("dog",), ())


def test_queries_keep_their_own_templates() -> None:
    own = Query(("cat",), ("one {}",))
    assert as_queries(["dog", own], ("a {}",)) == [Query(("dog",), ("a {}",)), own]
    assert as_queries("dog", ("a {}",)) == as_queries(("dog",), ("a {}",)) == [Query(("dog",), ("a {}",))]
    assert as_query(own, ("a {}",)) is own
    assert type(as_query(np.str_("dog"), ("{}",)).label) is str  # what an array of words holds


@pytest.mark.parametrize("nothing", [[], ()])
def test_no_query_at_all(nothing: Any) -> None:
    with pytest.raises(QueryError, match="no query was given"):
        as_queries(nothing, ("{}",))


@pytest.mark.parametrize(
    ("asked", "kind"),
    [(3, "int"), ([3], "int"), (None, "NoneType"), (b"dog", "bytes"), (["dog", b"cat"], "bytes"), ({"dog": 1}, "dict")],
)
def test_what_is_no_query_is_named(asked: Any, kind: str) -> None:
    with pytest.raises(QueryError, match=rf"a query is a text or a `Query`, got {kind}"):
        as_queries(asked, ("{}",))


def test_query_errors_are_value_errors() -> None:
    with pytest.raises(ValueError, match="is empty"):
        Query(("",))
