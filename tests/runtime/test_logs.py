"""What must be seen is said once: in the host's log if it keeps one that listens, else on stderr."""

from __future__ import annotations

import logging

import pytest

from runtime.logs import LOG, tell


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_the_log_is_told_or_stderr(level: int, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(level, "vlscore")
    tell("fetching a model")
    logged = [(record.name, record.getMessage()) for record in caplog.records]
    printed = capsys.readouterr().err
    assert (logged, printed) == (
        ([("vlscore", "fetching a model")], "") if level == logging.INFO else ([], "vlscore: fetching a model\n")
    )


def test_without_any_log_it_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(LOG, "propagate", False)
    tell("fetching a model")
    assert capsys.readouterr().err == "vlscore: fetching a model\n"
