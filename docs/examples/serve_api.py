"""An HTTP service: a picture is encoded once, and then asked as often as one likes.

pip install fastapi uvicorn python-multipart
uvicorn serve_api:app --host 127.0.0.1

curl -F file=@street.jpg localhost:8000/scenes              # {"scene": "4f1d...", ...}
curl "localhost:8000/scenes/4f1d...?query=a+red+bus"        # boxes, again and again
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, UploadFile
from fastapi.responses import JSONResponse

from runtime import Localizer, PictureLimits, Scene, VlscoreError, read_picture

MOST_BYTES = 20_000_000  # of an upload
MOST_SCENES = 64  # kept, about 3 MB each for the shipped model; the one that nobody asked for longest goes first
LIMITS = PictureLimits(pixels=40_000_000, seconds=10)  # strangers' files are decoded in a process of their own

localizer = Localizer(os.environ.get("MODEL"), preset=os.environ.get("PRESET", "fast"))
scenes: OrderedDict[str, Scene] = OrderedDict()
kept = threading.Lock()
encoding = threading.Semaphore(1)  # passes use all processors: several at once would only wait for each other
app = FastAPI(title="vlscore")


@app.exception_handler(VlscoreError)
def refused(request: Request, error: VlscoreError) -> JSONResponse:
    """What is wrong with a picture or a question is for the person who sent it."""
    return JSONResponse({"detail": str(error)}, status_code=422)


@app.post("/scenes")
def encode(file: UploadFile) -> dict[str, Any]:
    """Encode a picture, once per content."""
    data = file.file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise HTTPException(413, f"the picture has more than {MOST_BYTES / 1e6:g} MB; shrink it")
    name = hashlib.sha256(data).hexdigest()[:32]
    if name not in scenes:
        with encoding:
            scene = localizer.encode(read_picture(data, LIMITS))
        with kept:
            scenes[name] = scene
            while len(scenes) > MOST_SCENES:
                scenes.popitem(last=False)
    return {"scene": name}


@app.get("/scenes/{name}")
def locate(name: str, query: Annotated[list[str], Query(min_length=1, max_length=20)]) -> list[dict[str, Any]]:
    """Ask an encoded picture."""
    with kept:
        scene = scenes.get(name)
        if scene is None:
            raise HTTPException(404, "there is no such scene, or no longer: send the picture again")
        scenes.move_to_end(name)
    return [answer.to_dict() for answer in localizer.locate(scene, query)]
