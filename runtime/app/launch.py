"""`vlscore app`: Streamlit on the app's main page, with limits on what may be uploaded."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from runtime.errors import ArgumentError

MOST_MEGABYTES = 30  # of an upload
MAIN = Path(__file__).parent / "main.py"


def command(host: str, port: int, browser: bool) -> list[str]:
    """What is run."""
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": str(not browser).lower(),
        "server.maxUploadSize": MOST_MEGABYTES,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
    }
    return [sys.executable, "-m", "streamlit", "run", str(MAIN), *(f"--{name}={value}" for name, value in options.items())]


def environment() -> dict[str, str]:
    """This process' variables, and one thread for numpy: its products here are thin, and waiting for others costs more."""
    return {"OPENBLAS_NUM_THREADS": "1", **os.environ}


def run(host: str, port: int, browser: bool) -> int:
    """Serve the app until it is stopped; gives Streamlit's exit code."""
    if importlib.util.find_spec("streamlit") is None:
        raise ArgumentError("the app needs `streamlit`, which is not installed: pip install 'vlscore[cpu,app]'")
    return subprocess.run(command(host, port, browser), env=environment(), check=False).returncode
