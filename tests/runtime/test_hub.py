"""Fetching with the hub's real client, from a hub on localhost: what it does, and what it says when the network fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.errors import WeightsError
from runtime.filling import hub as client
from runtime.filling import place
from tests.configs import ROOT
from tests.runtime.fake_hub import FakeHub, environment

FETCH = """
import sys
from runtime.errors import WeightsError
from runtime.filling.hub import fetch
try:
    fetched = fetch("org/tiny", "MIT", print)
except WeightsError as error:
    sys.exit(f"refused: {error}")
print(fetched.path, len(fetched.path.read_bytes()), fetched.config.get("model_cfg"))
"""
WEIGHTS = bytes(range(256)) * 4000
SAFE, PLAIN, *_ = client.FILES


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    made = FakeHub()
    made.files["org/tiny"] = {SAFE: WEIGHTS}
    yield made
    made.close()


def fetch(hub: FakeHub, home: Path, **more: str) -> subprocess.Popen[str]:
    """Start a process that fetches."""
    known = {**os.environ, **environment(hub, home), **more}
    return subprocess.Popen(
        [sys.executable, "-c", FETCH], cwd=ROOT, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit code, what it printed, and what it said last on stderr."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err[err.find("refused:") :] if "refused:" in err else err


def test_it_says_what_from_where_how_much_and_the_licence_and_then_uses_the_cache(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["org/tiny"][client.CONFIGS[0]] = b'{"model_cfg": {"quick_gelu": true}}'
    code, out, err = ended(fetch(hub, tmp_path))
    assert code == 0, err
    first, second = out.splitlines()
    assert first == f"fetching {SAFE}, 1 MB, from {hub.address}/org/tiny (licence: MIT)"
    assert second.endswith(f"{len(WEIGHTS)} {{'quick_gelu': True}}")
    fetched = [path for method, path, _ in hub.asked if method == "GET" and path.endswith(SAFE)]
    code, out, _ = ended(fetch(hub, tmp_path))
    assert (code, out.splitlines()[0]) == (0, "org/tiny is in the cache of the Hugging Face Hub (licence: MIT)")
    assert [path for method, path, _ in hub.asked if method == "GET" and path.endswith(SAFE)] == fetched


def test_offline_the_cache_is_enough_and_without_it_the_way_is_told(hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = ended(fetch(hub, tmp_path, HF_HUB_OFFLINE="1"))
    assert code == 1
    assert "HF_HUB_OFFLINE is set and the cache has no weights of org/tiny" in err
    assert "vlscore pull NAME --from FILE" in err
    assert ended(fetch(hub, tmp_path))[0] == 0
    asked = len(hub.asked)
    assert ended(fetch(hub, tmp_path, HF_HUB_OFFLINE="1"))[0] == 0
    assert len(hub.asked) == asked


def test_a_line_that_goes_dead_is_taken_up_where_it_broke(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["org/tiny"] = {SAFE: WEIGHTS * 24}
    hub.cut_after = 12 * len(WEIGHTS)  # more than the ten megabytes that the client writes at once
    code, out, err = ended(fetch(hub, tmp_path))
    assert code == 0, err
    assert f" {24 * len(WEIGHTS)} " in out
    starts = [wanted for method, path, wanted in hub.asked if method == "GET" and path.endswith(SAFE)]
    assert starts[:2] == ["", f"bytes={10 << 20}-"]


def test_a_line_that_stays_dead_is_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_after = 1000
    code, _, err = ended(fetch(hub, tmp_path))
    assert code == 1
    assert f"could not be fetched from {hub.address}" in err
    assert "try again" in err


def test_damaged_weights_are_refused_and_removed(hub: FakeHub, tmp_path: Path) -> None:
    hub.damaged = True
    code, _, err = ended(fetch(hub, tmp_path))
    assert code == 1
    assert "is damaged: its sha256 is" in err
    hub.damaged = False
    assert ended(fetch(hub, tmp_path))[0] == 0


def test_the_older_file_is_taken_where_there_is_no_safe_one(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["org/tiny"] = {PLAIN: WEIGHTS}
    code, out, err = ended(fetch(hub, tmp_path))
    assert code == 0, err
    assert PLAIN in out


def test_two_processes_at_once(hub: FakeHub, tmp_path: Path) -> None:
    both = [fetch(hub, tmp_path) for _ in range(2)]
    assert [ended(process)[0] for process in both] == [0, 0]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "there is no repository org/tiny at http://127.0.0.1"),
        ({"org/tiny": {"README.md": b""}}, f"org/tiny holds none of {SAFE}, {PLAIN}"),
    ],
)
def test_what_is_not_there_is_named(hub: FakeHub, tmp_path: Path, files: dict[str, dict[str, bytes]], told: str) -> None:
    hub.files = files
    code, _, err = ended(fetch(hub, tmp_path))
    assert code == 1
    assert told in err


def test_an_address_where_nobody_answers(hub: FakeHub, tmp_path: Path) -> None:
    code, _, err = ended(fetch(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9"))
    assert code == 1
    assert "could not be fetched from http://127.0.0.1:9" in err
    assert "set HF_ENDPOINT to a mirror" in err


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    library = client.client("org/tiny")
    with (
        pytest.raises(WeightsError, match=r"the disk of the hub's cache .* is full; set HF_HOME"),
        client.told(library, "org/tiny"),
    ):
        raise OSError(28, "No space left on device")


def test_room_is_looked_for_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier try left in the cache is not needed again."""
    library = client.client("org/tiny")
    monkeypatch.setattr(library.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(client, "best_file", lambda *_: (SAFE, 3_000_000, ""))
    monkeypatch.setattr(library, "hf_hub_download", lambda *_: 1 / 0)  # asked for
    monkeypatch.setattr(place.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(WeightsError, match=rf"has 1 MB free, and {SAFE} takes another 3 MB; .* set HF_HOME to another disk"):
        client.fetch("org/tiny", "MIT", print)
    part = tmp_path / "models--org--tiny" / "blobs" / "made.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(2_000_000))
    with pytest.raises(WeightsError, match="division by zero"):
        client.fetch("org/tiny", "MIT", print)


def test_the_environment_can_forbid_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(client.FORBID, "0")
    with pytest.raises(
        WeightsError, match=r"VLSCORE_DOWNLOAD=0 forbids fetching; download open_clip_model\.safetensors of org/tiny"
    ):
        client.fetch("org/tiny", "MIT", print)


def test_without_the_client_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"pip install 'vlscore\[hub\]'"):
        client.fetch("org/tiny", "MIT", print)
