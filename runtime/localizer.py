"""The front door: open a model, encode pictures, ask where things are."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, Literal, Self, overload

from engine.manifest import Manifest, fingerprint
from engine.methods import AFFINITY, DEFAULT_METHOD
from engine.spec import Spec, SpecName
from runtime.answers import Answerer
from runtime.backends.fallback import FallbackSession
from runtime.backends.session import Backend
from runtime.bundles import Bundle, open_bundle
from runtime.checks import (
    as_spec,
    check_affinity,
    check_asking,
    check_called,
    check_masks,
    check_switches,
    fitting_scene,
    open_method,
    refuse_dense,
    refuse_one_picture,
    refuse_watching,
)
from runtime.classify import Label, classify, detect
from runtime.dense import Asking
from runtime.devices import Device
from runtime.encoder import Progress, SceneEncoder, StreamProgress, counting
from runtime.errors import BundleError
from runtime.filling.on_demand import find_with_methods
from runtime.localization import Localization
from runtime.opened import OpenModel
from runtime.opened_method import OpenMethod
from runtime.pictures import Picture, Pixels, read_picture
from runtime.precision import Precision, check_base
from runtime.presets import PassPlan, Preset, plan_passes
from runtime.query import Asked, Query, Several, as_queries, is_one
from runtime.scene import Scene
from runtime.text import TextEncoder
from runtime.watch import check_sure

OnSkip = Callable[[Picture, Exception], None]


class Localizer:
    """Says where a picture shows what words name. Holds no picture: threads may share one.

    `model` is a bundle's name or folder, or an open Bundle (none: the model shipped with the package). The device asked for
    is the device used, or DeviceError; only `auto` may choose, and `device` then tells what it chose. `cuda:1` is a machine's
    second card, and `device_options` are of CudaOptions or EngineOptions. `precision` is the bundle's own, or `bf16` or
    `tf32` for the masked passes of an fp32 bundle where the device has it. With `scenes_only`
    the image half of the bundle may be missing: saved scenes can be asked, pictures cannot be encoded. A published model that
    is not there yet (`vlscore models`) is fetched and made, which is said first; `download=False` forbids it.

    `method` is one of `engine.methods`: `vl-score`, or one that the bundle was built with. Questions to the dense ones
    compete, with each other and with the nouns of `background` (none given: all that a small model knows, else those of
    common backgrounds). `windows` has them look at large pictures piece by piece, their shorter side brought to so many
    pixels. On transformers `affinity` spreads any map to the patches that the model's attention ties to its brightest ones,
    for a pass more.

    `preset` trades faithfulness for time: `exact` runs every map; `fast` guesses all from one pass (or runs `passes` of them),
    runs `refine` for every query (`passes="auto"`: as many as it takes to be sure) and predicts the others; `instant` takes
    the one pass.
    """

    reopen: Callable[..., Localizer]  # opens the same once more

    def __new__(cls, *arguments: Any, **options: Any) -> Self:  # noqa: ANN401 - as __init__ has them
        """Remember how it is opened: another process, to which it is sent, opens it again in the same way."""
        opened = super().__new__(cls)
        opened.reopen = functools.partial(cls, *arguments, **options)
        return opened

    def __reduce__(self) -> tuple[Callable[..., Localizer], tuple[()]]:
        return self.reopen, ()

    def __init__(  # noqa: PLR0913 - the front door's options
        self,
        model: str | os.PathLike[str] | Bundle | None = None,
        *,
        method: str = DEFAULT_METHOD,
        device: Device = "auto",
        device_options: Mapping[str, Any] | None = None,
        precision: Precision | None = None,
        preset: Preset = "exact",
        passes: int | Literal["auto"] | None = None,
        refine: int | None = None,
        spec: SpecName | Spec = "default",
        templates: str | Sequence[str] | None = None,
        background: Sequence[str] | None = None,
        windows: int = 0,
        affinity: bool = False,
        threads: int | None = None,
        scenes_only: bool = False,
        download: bool = True,
        sha256: str | None = None,
        backend: Backend | None = None,
    ) -> None:
        started = time.perf_counter()
        check_switches(scenes_only=scenes_only, download=download, affinity=affinity)
        if not isinstance(model, Bundle):
            lacking = (method, AFFINITY) if affinity else (method,)
            folder = find_with_methods(model, download, () if sha256 or scenes_only else lacking)  # what is pinned stays as it is
            model = open_bundle(folder, scenes_only=scenes_only, sha256=sha256)
        self.method = open_method(method, model.manifest, model.folder)
        self.spec = as_spec(spec, self.method)
        self.model = OpenModel(
            model, device=device, device_options=device_options, precision=precision, threads=threads, backend=backend
        )
        self.scenes_only = scenes_only
        self.fingerprint = fingerprint(self.manifest)
        self.text = TextEncoder(self.bundle, self.model.texts())
        self.templates = self.text.named_templates(self.method.templates if templates is None else templates)
        check_asking(self.method, preset, passes, windows, background, self.spec)
        if affinity:
            check_affinity(self.manifest, model.folder, windows)
        self.asking = Asking(self.templates, background, windows, affinity)
        self.opened = self.opened_under(self.spec, plan_passes(self.manifest, preset, passes, refine))
        self.opened_in = time.perf_counter() - started

    def __repr__(self) -> str:
        """What is open, in a line."""
        return f"Localizer({self.manifest.backbone}, {self.method.name}, {self.plan.preset}, {self.precision} on {self.device})"

    def with_spec(self, spec: SpecName | Spec) -> Localizer:
        """The same open model asked under another spec, such as another threshold: nothing is loaded or encoded again."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other.reopen = functools.partial(self.reopen, spec=spec)
        other.spec = as_spec(spec, self.method)
        other.opened = self.opened_under(other.spec, self.plan)
        return other

    def opened_under(self, spec: Spec, plan: PassPlan) -> OpenMethod:
        """The method opened under a spec that the bundle can be asked under."""
        check_masks(self.bundle, spec)
        check_base(self.precision, spec)
        return OpenMethod(self.model, self.method, spec, plan, self.text, self.asking, scenes_only=self.scenes_only)

    @property
    def encoder(self) -> SceneEncoder:
        """What runs masked passes."""
        return self.opened.encoder

    @property
    def answerer(self) -> Answerer:
        """What answers from masked passes."""
        return self.opened.answerer

    @property
    def plan(self) -> PassPlan:
        """How many passes are run, and when."""
        return self.opened.plan

    @property
    def bundle(self) -> Bundle:
        """The bundle that is open."""
        return self.model.bundle

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self.model.manifest

    @property
    def backend(self) -> Backend:
        """What runs the graphs."""
        return self.model.backend

    @property
    def device(self) -> str:
        """The device in use."""
        return self.backend.device

    @property
    def precision(self) -> str:
        """What masked passes are computed in."""
        return self.model.precision

    @property
    def info(self) -> dict[str, Any]:
        """Model, weights, device, precision, batch and passes, for logs and reports."""
        masked = self.encoder.sessions["masked"]
        fallbacks = {"shrunk": masked.shrunk, "retried": masked.retried} if isinstance(masked, FallbackSession) else {}
        return {
            **self.model.info,
            "method": self.method.name,
            "preset": self.plan.preset,
            "spec": self.spec.name,
            **fallbacks,
            "opened_in_s": round(self.opened_in, 3),
        }

    def encode(self, picture: Picture, *, progress: Progress | None = None) -> Scene:
        """Run a picture's masked passes: the slow part, once; `progress(done, total)` counts them."""
        self.check_image_half()
        check_called(progress=progress)
        return next(self.opened.encode(iter([read_picture(picture)]), counting(progress), 1))

    def refine(self, scene: Scene, query: Asked | Several, *, progress: Progress | None = None) -> Scene:
        """Spend the further passes that `fast` has for queries; the scene given back knows more, for any later query too."""
        refuse_dense(self.method, "refine")
        scene = fitting_scene(scene, self.manifest, self.fingerprint, self.spec)
        check_called(progress=progress)
        self.check_image_half()
        findings = self.opened.refiner.refine(scene, self.text.embed(as_queries(query, self.templates)), progress)
        return scene if findings is None else findings.to_scene()

    @overload
    def locate(self, scene: Scene, query: Asked, *, progress: Progress | None = None) -> Localization: ...
    @overload
    def locate(self, scene: Scene, query: Several, *, progress: Progress | None = None) -> list[Localization]: ...
    def locate(
        self, scene: Scene, query: Asked | Several, *, progress: Progress | None = None
    ) -> Localization | list[Localization]:
        """Ask an encoded picture: one query gives one answer, several give a list in the same order.

        With `fast` this takes further passes; see `refine` for keeping what they tell.
        """
        check_called(progress=progress)
        found = self.answer(
            fitting_scene(scene, self.manifest, self.fingerprint, self.spec, self.method.name),
            as_queries(query, self.templates),
            progress,
        )
        return found[0] if is_one(query) else found

    @overload
    def __call__(self, picture: Picture, query: Asked, *, progress: Progress | None = None) -> Localization: ...
    @overload
    def __call__(self, picture: Picture, query: Several, *, progress: Progress | None = None) -> list[Localization]: ...
    def __call__(
        self, picture: Picture, query: Asked | Several, *, progress: Progress | None = None
    ) -> Localization | list[Localization]:
        """Encode a picture and ask it: `localizer("street.jpg", "a red bus")`."""
        queries = as_queries(query, self.templates)  # a bad query is refused before the passes, not after them
        check_called(progress=progress)
        further = self.plan.further_passes(self.manifest.maps.count, len(queries))
        found = self.answer(self.encode(picture, progress=counting(progress, further)), queries, progress)
        return found[0] if is_one(query) else found

    def scenes(
        self, pictures: Iterable[Picture], *, progress: StreamProgress | None = None, on_skip: OnSkip | None = None
    ) -> Iterator[Scene]:
        """Encode many pictures, in order, their passes packed into full batches.

        A picture that fails ends this, after those before it; with `on_skip(picture, error)` it is left out instead.
        """
        self.check_image_half()
        refuse_one_picture(pictures)
        check_called(progress=progress, on_skip=on_skip)
        expected = len(pictures) if isinstance(pictures, Sized) else None
        current: Picture = ""

        def readable() -> Iterator[Pixels]:
            nonlocal current
            for current in pictures:
                try:
                    pixels = read_picture(current)
                except Exception as error:  # of any kind: one picture must not end the work on all others
                    if on_skip is None:
                        raise
                    on_skip(current, error)
                else:
                    yield pixels

        def skip(error: Exception) -> None:
            if on_skip is not None:
                on_skip(current, error)

        return self.opened.encode(readable(), progress, expected, None if on_skip is None else skip)

    @overload
    def stream(
        self, pictures: Iterable[Picture], query: Asked, *, progress: StreamProgress | None = None, on_skip: OnSkip | None = None
    ) -> Iterator[Localization]: ...
    @overload
    def stream(
        self,
        pictures: Iterable[Picture],
        query: Several,
        *,
        progress: StreamProgress | None = None,
        on_skip: OnSkip | None = None,
    ) -> Iterator[list[Localization]]: ...
    def stream(
        self,
        pictures: Iterable[Picture],
        query: Asked | Several,
        *,
        progress: StreamProgress | None = None,
        on_skip: OnSkip | None = None,
    ) -> Iterator[Localization] | Iterator[list[Localization]]:
        """Ask the same of many pictures, in order, their passes packed into full batches.

        One query gives one answer per picture, several give a list per picture. For `on_skip` see `scenes`.
        """
        queries = as_queries(query, self.templates)
        answers = (self.answer(scene, queries) for scene in self.scenes(pictures, progress=progress, on_skip=on_skip))
        return (found[0] for found in answers) if is_one(query) else answers

    @overload
    def watch(self, picture: Picture | Scene, query: Asked, *, sure: float | None = None) -> Iterator[Localization]: ...
    @overload
    def watch(self, picture: Picture | Scene, query: Several, *, sure: float | None = None) -> Iterator[list[Localization]]: ...
    def watch(
        self, picture: Picture | Scene, query: Asked | Several, *, sure: float | None = None
    ) -> Iterator[Localization] | Iterator[list[Localization]]:
        """Give an answer at once, then better and better ones: `for found in localizer.watch("street.jpg", "a red bus")`.

        The last one is what the Localizer's preset would have given; with `sure` it ends as soon as every answer's expected
        error is at most that. Nothing runs between the answers, so the loop may be left at any of them. A scene of `fast` is
        gone on with, for a further question; other scenes give one answer.
        """
        check_sure(sure)
        refuse_watching(self.method, self.asking.affinity)
        queries = as_queries(query, self.templates)
        if isinstance(picture, Scene):
            seen: Pixels | Scene = fitting_scene(picture, self.manifest, self.fingerprint, self.spec)
        else:
            self.check_image_half()
            seen = read_picture(picture)
        answers = self.opened.watcher.watch(seen, queries, self.text.embed(queries), sure)
        return (found[0] for found in answers) if is_one(query) else answers

    def classify(self, picture: Picture | Scene, labels: Several, top_k: int = 5) -> list[Label]:
        """Say which of several labels suit a picture best, with probabilities: a pass, or none for a scene of this model."""
        return classify(self, picture, labels, top_k)

    def detect(
        self, picture: Picture | Scene, labels: Several, top_k: int = 1, *, classifier: Localizer | None = None
    ) -> list[Label]:
        """Classify a picture and find the best labels in it; with `classifier`, class and boxes come from two models."""
        return detect(self, picture, labels, top_k, classifier)

    def answer(self, scene: Scene, queries: list[Query], progress: Progress | None = None) -> list[Localization]:
        """Answer queries to a scene of this model, after the further passes that its preset has for them."""
        found = self.opened.answer(scene, queries, self.text.embed(queries), progress)
        if self.method.family == "masked" and not any(answer.present for answer in found):
            self.text.warn_of_small_model("nothing was found")
        return found

    def check_image_half(self) -> None:
        """Refuse to encode when the bundle was opened without its image half."""
        if self.scenes_only:
            raise BundleError("this Localizer was opened with `scenes_only=True` and cannot encode pictures; open it without")
