"""What a graph is: the hash of its file and of the weights beside it. Caches of built engines are named by it."""

from __future__ import annotations

import hashlib
from pathlib import Path


def graph_hash(graph: Path) -> str:
    """Hash of a graph and of the files of weights beside it that it names."""
    content = graph.read_bytes()
    digest = hashlib.sha256(content)
    for path in sorted(graph.parent.glob("*.weights")):
        if path.name.encode() in content:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
