"""The model of a Triton server that answers pictures and queries: a `Localizer` on the other models of the same server.

`export.triton` writes the repository. In the server only this package has to be installed, and none of its backends.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.served import ServedBackend
from runtime.bundles import open_words
from runtime.errors import PictureError, PresetError, QueryError, VlscoreError
from runtime.localization import Localization
from runtime.localizer import Localizer
from runtime.pictures import Picture
from runtime.query import Query, as_queries
from runtime.scene import Scene

BY_THE_CLIENT = (PictureError, QueryError, PresetError)


class TritonPythonModel:
    """What the server's Python backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle whose manifest and words lie beside `model.py`; no other model is asked before the first request."""
        self.utils = importlib.import_module("triton_python_backend_utils")
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        folder = Path(args["model_repository"]) / args["model_version"]
        bundle = open_words(folder)
        self.localizer = Localizer(
            bundle,
            backend=ServedBackend(self.utils, args["model_name"], bundle.manifest),
            preset=parameters.get("preset", "exact"),
            spec=parameters.get("spec", "default"),
        )
        self.scenes = SceneCache(int(parameters.get("scenes_mib", "512")) * 2**20)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request; an error is of its own request alone."""
        return [self.respond(request) for request in requests]

    def respond(self, request: Any) -> Any:  # noqa: ANN401
        """One request, answered or refused."""
        error_class = self.utils.TritonError
        try:
            tensors = [self.utils.Tensor(*item) for item in outputs(self.locate(request)).items()]
            return self.utils.InferenceResponse(output_tensors=tensors)
        except BY_THE_CLIENT as error:
            refusal = error_class(str(error), error_class.INVALID_ARG)
        except VlscoreError as error:
            refusal = error_class(str(error), error_class.INTERNAL)
        except Exception as error:  # whatever it was, the other requests are answered
            refusal = error_class(f"{type(error).__name__}: {error}", error_class.INTERNAL)
        return self.utils.InferenceResponse(output_tensors=[], error=refusal)

    def locate(self, request: Any) -> list[Localization]:  # noqa: ANN401
        """Answer a request's queries to its picture, which is encoded unless its scene is still kept."""
        key, picture = self.read_picture(request)
        queries = self.read_queries(request)
        scene = self.scenes.get(key)
        if scene is None:
            scene = self.localizer.encode(picture)
            self.scenes.put(key, scene)
        return self.localizer.answer(scene, queries)

    def read_picture(self, request: Any) -> tuple[str, Picture]:  # noqa: ANN401
        """The picture of a request and the hash of its content."""
        encoded = self.utils.get_input_tensor_by_name(request, "picture")
        pixels = self.utils.get_input_tensor_by_name(request, "pixels")
        if (encoded is None) == (pixels is None):
            raise PictureError("give either `picture`, the bytes of a picture file, or `pixels` (H, W, 3) u8, not both or none")
        if pixels is not None:
            array = np.array(pixels.as_numpy())
            return digest(str(array.shape).encode(), array.tobytes()), array
        values = encoded.as_numpy().ravel()
        if len(values) != 1:
            raise PictureError(f"`picture` must hold the bytes of one file, found {len(values)}; send one request per picture")
        data = bytes(values[0])
        return digest(b"file", data), data

    def read_queries(self, request: Any) -> list[Query]:  # noqa: ANN401
        """The queries of a request."""
        tensor = self.utils.get_input_tensor_by_name(request, "queries")
        values = [] if tensor is None else tensor.as_numpy().ravel().tolist()
        try:
            words = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
        except UnicodeDecodeError as error:
            raise QueryError(f"`queries` must be UTF-8 ({error})") from error
        return as_queries(words, self.localizer.templates)


class SceneCache:
    """The pictures encoded last, by their content, as many as fit into a number of bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.kept: OrderedDict[str, Scene] = OrderedDict()

    def get(self, key: str) -> Scene | None:
        """A scene that is kept, now the latest."""
        if key in self.kept:
            self.kept.move_to_end(key)
        return self.kept.get(key)

    def put(self, key: str, scene: Scene) -> None:
        """Keep a scene; those not asked for longest are dropped until all fit."""
        self.kept[key] = scene
        self.size += memory(scene)
        while self.size > self.limit and self.kept:
            self.size -= memory(self.kept.popitem(last=False)[1])


def outputs(found: list[Localization]) -> dict[str, NDArray[Any]]:
    """Answers as arrays: the boxes of all queries one after the other, and which query each answers."""
    return {
        "boxes": np.concatenate([one.xyxy for one in found]).astype(np.float32).reshape(-1, 4),
        "scores": np.concatenate([one.scores for one in found]).astype(np.float32),
        "which": np.repeat(np.arange(len(found), dtype=np.int32), [len(one) for one in found]),
        "present": np.array([one.present for one in found], dtype=bool),
        "saliency": np.stack([one.map for one in found]).astype(np.float32),
        "window": np.array(found[0].frame.window_xyxy(), dtype=np.float32),
    }


def digest(kind: bytes, data: bytes) -> str:
    """Hash of a content and its kind."""
    return hashlib.sha256(kind + b"\0" + data).hexdigest()


def memory(scene: Scene) -> int:
    """Bytes that a scene keeps in memory."""
    arrays = (scene.maps, scene.embeddings, scene.base, scene.embedding, scene.picture, scene.guide, scene.known)
    return sum(array.nbytes for array in arrays if array is not None)
