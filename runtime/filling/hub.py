"""Weights from the Hugging Face Hub, through its own client: its cache, resumption, mirrors, tokens and offline switch."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.errors import WeightsError
from runtime.filling.place import check_free
from runtime.filling.transformers_names import as_open_clip

FORBID = "VLSCORE_DOWNLOAD"  # set to 0: nothing is ever fetched
# open_clip's own names, then those of the `transformers` library; of each the safe one first.
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")
CONFIGS = ("open_clip_config.json", "config.json", "preprocessor_config.json")
SHA256 = re.compile(r"[0-9a-f]{64}")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """A file of weights in the client's cache, and the configuration beside it, where there is one."""

    path: Path
    config: dict[str, Any]


def allowed() -> bool:
    """Whether the environment lets anything be fetched."""
    return os.environ.get(FORBID, "1").strip().lower() not in ("0", "false", "no", "off")


def fetch(repository: str, licence: str, say: Say) -> Fetched:
    """Fetch a repository's weights, telling first what, from where, how much and under which licence."""
    if not allowed():
        raise WeightsError(f"{FORBID}=0 forbids fetching; {by_hand(repository)}")
    hub = client(repository)
    with told(hub, repository):
        name, size, sha256 = best_file(hub, repository)
        where = f"{hub.constants.ENDPOINT}/{repository}"
        if isinstance(hub.try_to_load_from_cache(repository, name), str):
            say(f"{repository} is in the cache of the Hugging Face Hub (licence: {licence})")
        else:
            check_free(Path(hub.constants.HF_HUB_CACHE), size - begun(hub, repository), f"{name} takes another", "HF_HOME")
            say(f"fetching {name}, {size / 1e6:.0f} MB, from {where} (licence: {licence})")
        path = Path(hub.hf_hub_download(repository, name))
        config = read_config(lambda name: fetched_json(hub, repository, name), repository)
    check_hash(path, sha256, where)
    return Fetched(path, config)


def client(repository: str) -> ModuleType:
    """The hub's client, or how to get it or do without."""
    try:
        for part in ("constants", "errors"):  # not there before they are asked for by name
            importlib.import_module(f"huggingface_hub.{part}")
        return importlib.import_module("huggingface_hub")
    except ImportError:
        raise WeightsError(
            f"fetching weights needs the hub's client: `pip install 'vlscore[hub]'`. Or {by_hand(repository)}"
        ) from None


def begun(hub: ModuleType, repository: str) -> int:
    """The bytes that an earlier try left in the cache, where the next one goes on."""
    blobs = Path(hub.constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "blobs"
    return sum(part.stat().st_size for part in blobs.glob("*.incomplete"))


def best_file(hub: ModuleType, repository: str) -> tuple[str, int, str]:
    """The file to take, its size, and its sha256 where the hub tells it; offline, what the cache has."""
    for name in FILES:
        if hub.constants.HF_HUB_OFFLINE:
            if isinstance(hub.try_to_load_from_cache(repository, name), str):
                return name, 0, ""
            continue
        with contextlib.suppress(hub.errors.EntryNotFoundError):
            found = hub.get_hf_file_metadata(hub.hf_hub_url(repository, name))
            etag = found.etag or ""
            return name, found.size or 0, etag if SHA256.fullmatch(etag) else ""
    if hub.constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"HF_HUB_OFFLINE is set and the cache has no weights of {repository}; unset it, or {by_hand(repository)}"
        )
    raise WeightsError(f"{repository} holds none of {', '.join(FILES)}; download its weights and name the file with `--from`")


def fetched_json(hub: ModuleType, repository: str, name: str) -> dict[str, Any]:
    """A configuration, where the repository has it."""
    with contextlib.suppress(hub.errors.EntryNotFoundError):
        return read_json(Path(hub.hf_hub_download(repository, name)))
    return {}


def read_json(path: Path) -> dict[str, Any]:
    """A configuration out of a file; nothing where there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_config(read: Callable[[str], dict[str, Any]], where: str) -> dict[str, Any]:
    """What lies beside weights as one configuration: open_clip's own, else that of the `transformers` library in its form."""
    own, theirs, preprocessor = CONFIGS
    return read(own) or as_open_clip(read(theirs), read(preprocessor), where)


def check_hash(path: Path, expected: str, where: str) -> None:
    """Compare a fetched file with what the hub says of it; what differs is removed, so that the next try fetches it anew."""
    if not expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise WeightsError(
            f"what came from {where} is damaged: its sha256 is {found[:12]}... instead of {expected[:12]}...; "
            "it was removed, try again"
        )


@contextlib.contextmanager
def told(hub: ModuleType, repository: str) -> Iterator[None]:
    """Turn what the client and the network raise into one sentence."""
    try:
        yield
    except WeightsError:
        raise
    except hub.errors.GatedRepoError:
        raise WeightsError(f"{repository} wants its terms accepted on its page, and a token: `hf auth login`") from None
    except hub.errors.RepositoryNotFoundError:
        raise WeightsError(
            f"there is no repository {repository} at {hub.constants.ENDPOINT}, or a token is needed for it"
        ) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise WeightsError(
                f"the disk of the hub's cache ({hub.constants.HF_HUB_CACHE}) is full; set HF_HOME to another"
            ) from None
        raise unreachable(hub, repository, error) from None
    except Exception as error:  # the client's own errors, and those of the HTTP library it happens to use
        raise unreachable(hub, repository, error) from None


def unreachable(hub: ModuleType, repository: str, error: Exception) -> WeightsError:
    """The network failed, more often than the client is patient."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return WeightsError(
        f"{repository} could not be fetched from {hub.constants.ENDPOINT}: {reason}\n"
        f"try again; behind a firewall set HF_ENDPOINT to a mirror, or {by_hand(repository)}"
    )


def by_hand(repository: str) -> str:
    """How to do without the client."""
    return (
        f"download {FILES[0]} of {repository} elsewhere and name the file: `vlscore pull NAME --from FILE`, or "
        "`--pretrained FILE` of a build"
    )
