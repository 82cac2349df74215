"""The front model inside Triton: pictures and queries in, boxes out. `export.triton` writes this file as `model.py`.

It needs the installed `vlscore` package and none of its backends: graphs are run by the server, asked through its
business logic scripting, and everything else is the engine and the runtime as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from engine.manifest import TEXT_FILES, TEXT_HALF, GraphInfo
from engine.spec import named_spec
from runtime.answers import Answerer
from runtime.backends.session import Arrays, HostSession, Outputs
from runtime.bundles import Bundle, check_file, read_manifest
from runtime.encoder import SceneEncoder
from runtime.errors import DeviceError, PictureError, PresetError, QueryError, VlscoreError
from runtime.localization import Localization
from runtime.pictures import Picture, read_picture
from runtime.presets import plan_passes
from runtime.query import Query, as_queries
from runtime.refine import Refiner
from runtime.scene import Scene
from runtime.text import TextEncoder

BY_THE_CLIENT = (PictureError, QueryError, PresetError)


class ServedSession(HostSession):
    """A graph that the server runs, asked like any other session."""

    def __init__(self, model: str, info: GraphInfo) -> None:
        self.model, self.info = model, info
        self.memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)  # else outputs may stay on the card

    def run(self, inputs: Arrays) -> Outputs:
        """Send the inputs, wait for the outputs, and copy them out of the server's memory."""
        # Triton knows no scalars: a single number travels as an array of one, and its backend makes a scalar of it again.
        tensors = [pb_utils.Tensor(name, np.ascontiguousarray(np.atleast_1d(inputs[name]))) for name in self.info.inputs]
        request = pb_utils.InferenceRequest(
            model_name=self.model,
            requested_output_names=list(self.info.outputs),
            inputs=tensors,
            preferred_memory=self.memory,
        )
        response = request.exec()
        if response.has_error():
            raise DeviceError(f"the server's model `{self.model}` failed: {response.error().message()}")
        return {name: self.output(response, name) for name in self.info.outputs}

    def output(self, response: Any, name: str) -> NDArray[np.float32]:  # noqa: ANN401 - the server's classes carry no types
        """One output in its own shape."""
        tensor = pb_utils.get_output_tensor_by_name(response, name)
        if tensor is None:
            raise DeviceError(f"the server's model `{self.model}` gave no `{name}`; write the repository again")
        return np.array(tensor.as_numpy(), dtype=np.float32).reshape(self.info.outputs[name][1])


class Scenes:
    """The pictures encoded last, by their content, as many as fit."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.kept: OrderedDict[str, Scene] = OrderedDict()

    def get(self, key: str) -> Scene | None:
        """A scene seen before, now the latest."""
        if key in self.kept:
            self.kept.move_to_end(key)
        return self.kept.get(key)

    def put(self, key: str, scene: Scene) -> None:
        """Keep a scene, and forget those that nobody asked for longest."""
        self.kept[key] = scene
        self.size += weight(scene)
        while self.size > self.limit and self.kept:
            self.size -= weight(self.kept.popitem(last=False)[1])


class Front:
    """The bundle behind the server: what `Localizer` is elsewhere, over the server's own sessions."""

    def __init__(self, folder: Path, name: str, parameters: Mapping[str, str]) -> None:
        manifest = read_manifest(folder)
        for file in TEXT_FILES:
            check_file(folder, file, manifest)
        spec = named_spec(parameters.get("spec", "default"))
        plan = plan_passes(manifest, parameters.get("preset", "exact"), None, None)
        sessions = {graph: ServedSession(f"{name}_{graph}", info) for graph, info in manifest.graphs.items()}
        image_half = {graph: session for graph, session in sessions.items() if graph not in TEXT_HALF}
        self.text = TextEncoder(Bundle(folder, manifest), sessions)
        self.encoder = SceneEncoder(manifest, dict(image_half), spec, plan)
        self.answerer = Answerer(manifest, sessions["saliency"], spec)
        self.refiner = Refiner(self.encoder, self.answerer, plan)
        self.scenes = Scenes(int(parameters.get("scenes_mib", "512")) * 2**20)

    def locate(self, key: str, picture: Picture, queries: list[Query]) -> list[Localization]:
        """Answer queries to a picture, which is encoded unless it still is."""
        texts = self.text.embed(queries)
        scene = self.scenes.get(key)
        if scene is None:
            scene = next(self.encoder.encode([read_picture(picture)], None, expected=1))
            self.scenes.put(key, scene)
        return self.answerer.answer(self.refiner.refine(scene, texts), queries, texts)


class TritonPythonModel:
    """What the server's Python backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what lies beside this file; no other model is asked before the first request."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        folder = Path(args["model_repository"]) / args["model_version"]
        self.front = Front(folder, args["model_name"], parameters)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request; what goes wrong with one is that one's error."""
        return [self.respond(request) for request in requests]

    def respond(self, request: Any) -> Any:  # noqa: ANN401
        """One request, answered or refused."""
        error_class = pb_utils.TritonError
        try:
            key, picture = picture_of(request)
            found = self.front.locate(key, picture, queries_of(request))
            return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(*item) for item in outputs(found).items()])
        except BY_THE_CLIENT as error:
            fault = error_class(str(error), error_class.INVALID_ARG)
        except VlscoreError as error:
            fault = error_class(str(error), error_class.INTERNAL)
        except Exception as error:  # the neighbours of a request must not pay for it, whatever it was
            fault = error_class(f"{type(error).__name__}: {error}", error_class.INTERNAL)
        return pb_utils.InferenceResponse(output_tensors=[], error=fault)


def picture_of(request: Any) -> tuple[str, Picture]:  # noqa: ANN401
    """The picture of a request and the hash of its content."""
    encoded = pb_utils.get_input_tensor_by_name(request, "picture")
    pixels = pb_utils.get_input_tensor_by_name(request, "pixels")
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


def queries_of(request: Any) -> list[Query]:  # noqa: ANN401
    """The queries of a request."""
    tensor = pb_utils.get_input_tensor_by_name(request, "queries")
    values = [] if tensor is None else tensor.as_numpy().ravel().tolist()
    try:
        words = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
    except UnicodeDecodeError as error:
        raise QueryError(f"`queries` must be UTF-8 ({error})") from error
    return as_queries(words, ("{}",))


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


def weight(scene: Scene) -> int:
    """Bytes that a scene keeps in memory."""
    arrays = (scene.maps, scene.embeddings, scene.base, scene.embedding, scene.picture, scene.guide, scene.known)
    return sum(array.nbytes for array in arrays if array is not None)
