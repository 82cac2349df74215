"""What is refused at the front door: specs, scenes and pictures that do not fit the model that is open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from engine.frame import Frame
from engine.manifest import Manifest, method_fingerprint
from engine.methods import (
    AFFINITY,
    DEFAULT_METHOD,
    METHODS,
    READY,
    VL_SCORE,
    Method,
    MethodError,
    find_method,
    refuse_other_tower,
)
from engine.records import quoted, shown
from engine.spec import SPECS, Spec
from runtime.bundles import Bundle
from runtime.errors import ArgumentError, BundleError, PictureError, SceneError
from runtime.presets import PRESETS
from runtime.scene import Scene


def fitting_scene(scene: Scene, manifest: Manifest, fingerprint: str, spec: Spec, method: str = DEFAULT_METHOD) -> Scene:
    """Refuse a scene that another model made, or that shows the model something else than this spec would."""
    if not isinstance(scene, Scene):
        raise SceneError(
            f"`scene` is a {type(scene).__name__}; encode the picture first: `scene = localizer.encode(picture)`, or ask it "
            "at once: `localizer(picture, query)`"
        )
    for part in METHODS[method].needs if METHODS[method].parts else ():
        check_evidence(scene, manifest, part)
    method = METHODS[method].first.name
    if METHODS[method].family != "masked":
        check_evidence(scene, manifest, method)
        return scene
    maps, dim = manifest.maps, manifest.dim
    refuse_lacking(scene, method)
    shapes = (scene.maps.shape, scene.embeddings.shape)
    if scene.fingerprint != fingerprint or shapes != ((maps.count, maps.height, maps.width), (maps.count, dim)):
        raise SceneError(
            f"this scene was made by another model ({scene.backbone}) or another build of it than the one open "
            f"({manifest.backbone}, {manifest.precision}); open that one, or encode the picture again"
        )
    if scene.blank != spec.base:
        raise SceneError(
            f"this scene was scored against the {scene.blank} picture, and this Localizer's spec wants `base` = `{spec.base}`; "
            f"ask it with `spec=DEFAULT.replace(base={scene.blank!r})`, or encode the picture again"
        )
    frame = scene.frame
    wanted = Frame.fit(frame.picture_hw, manifest.image.side, spec.geometry)
    if (frame.side, frame.resized_hw, frame.offset_yx) != (wanted.side, wanted.resized_hw, wanted.offset_yx):
        raise SceneError(
            f"this scene was encoded with the geometry `{frame.geometry}`, and this Localizer's spec wants "
            f"`{spec.geometry}`; ask it with `spec=DEFAULT.replace(geometry={frame.geometry!r})`, or encode it again"
        )
    return scene if frame.geometry == wanted.geometry else replace(scene, frame=wanted)


def refuse_lacking(scene: Scene, method: str) -> None:
    """Refuse a scene that holds nothing that a method could be asked by."""
    if not len(scene.maps) if METHODS[method].family == "masked" else method not in scene.methods:
        raise SceneError(
            f"this scene can be asked by {quoted(scene.methods)}, and this Localizer asks by `{method}`: encode the picture "
            f'with it, or ask by `Localizer(..., method="{next(iter(scene.methods), method)}")`'
        )


def check_evidence(scene: Scene, manifest: Manifest, method: str) -> None:
    """Refuse a scene without a method's evidence, or with that of another model."""
    refuse_lacking(scene, method)
    if scene.evidence[method].made_by != method_fingerprint(manifest, method):
        raise SceneError(
            f"this scene's evidence of `{method}` was made by another model ({scene.backbone}) or another build of it than the "
            f"one open ({manifest.backbone}, {manifest.precision}); open that one, or encode the picture again"
        )


def open_method(name: object, manifest: Manifest, folder: Path) -> Method:
    """Find a method by name, and refuse one that the bundle was not built with, or that its tower does not define."""
    try:
        method = find_method(name)
        refuse_other_tower(method, manifest.tower)
    except MethodError as error:
        raise ArgumentError(str(error)) from None
    if method.family == "refinement":
        raise ArgumentError(f"`{method.name}` refines the maps of other methods; ask for it with `{method.name}=True`")
    lacking = [name for name in method.needs if name not in manifest.methods]
    if lacking:
        from runtime.filling.methods import how_to_add  # here: most bundles have what is asked for, and need none of this

        have = quoted((*READY, *manifest.methods))
        raise BundleError(
            f"this bundle of {manifest.backbone} has no graphs of the method `{lacking[0]}` (it has {have}); add them, which "
            f"leaves the rest as it is: {how_to_add(folder, manifest, ','.join(lacking))}"
        )
    return method


def refuse_dense(method: Method, what: str) -> None:
    """Refuse what takes masked passes one after the other where the method takes none."""
    if method.family != "masked":
        raise ArgumentError(f"`{what}` spends masked passes, and `{method.name}` takes none: its answers are whole at once")


def refuse_watching(method: Method, affinity: bool) -> None:
    """Refuse answers that grow where a method's passes follow from the question, or need another pass to be spread by."""
    refuse_dense(method, "watch")
    if method.head is not None or method.parts:
        raise ArgumentError(f"`watch` gives answers before all passes are run, and `{method.name}` has none then; use `locate`")
    if affinity:
        raise ArgumentError("`watch` spreads no maps by affinity; open the model without `affinity`, or use `locate`")


def check_affinity(manifest: Manifest, folder: Path, windows: int) -> None:
    """Refuse `affinity` where nothing can tell which patches belong together."""
    if manifest.tower != "vit":
        raise ArgumentError("`affinity` comes from a transformer's attention, and this model is a ResNet; leave it out")
    if windows:
        raise ArgumentError("`affinity` ties the patches of one square together; leave `windows` or `affinity` out")
    if AFFINITY not in manifest.methods:
        from runtime.filling.methods import how_to_add

        raise BundleError(
            f"this bundle of {manifest.backbone} has no graph of `affinity`; add it, which leaves the rest as it is: "
            f"{how_to_add(folder, manifest, AFFINITY)}"
        )


def refuse_one_picture(pictures: object) -> None:
    """Many pictures were meant to be given; of a path, its letters would be taken for pictures."""
    if isinstance(pictures, (str, bytes, os.PathLike)) or hasattr(pictures, "shape") or not isinstance(pictures, Iterable):
        raise PictureError(
            f"`pictures` is a {type(pictures).__name__}; give several, such as a list of paths, or ask one: "
            "`localizer(picture, query)`"
        )


def check_switches(**switches: object) -> None:
    """Refuse what is neither on nor off."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ArgumentError(f"`{name}` must be True or False, found {shown(value)} ({type(value).__name__})")


def check_called(**functions: object) -> None:
    """Refuse what cannot be called where a function is to be called later, in the middle of the work."""
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise ArgumentError(f"`{name}` must be a function, found {shown(function)} ({type(function).__name__})")


def check_backend(backend: object) -> None:
    """Refuse what opens no graphs where a backend is given."""
    lacking = [name for name in ("open", "device", "precisions", "detail") if not hasattr(backend, name)]
    if lacking:
        raise ArgumentError(f"`backend` must be an open backend, found {shown(backend)}, which has no {', '.join(lacking)}")


def check_asking(method: Method, preset: object, passes: object, windows: object, background: object, spec: Spec) -> None:
    """Refuse what belongs to other methods, and words that are none."""
    if method.family != "masked" and preset != "exact":
        raise ArgumentError(f"`preset` belongs to methods that take masked passes; `{method.name}` takes one: leave `preset` out")
    if preset in PRESETS and preset not in method.presets:
        raise ArgumentError(f"the passes of `{method.name}` follow from each question, whatever the preset: leave `preset` out")
    if method.name != DEFAULT_METHOD and passes == "auto":
        raise ArgumentError(
            f'`passes="auto"` ends where an answer is sure, and nothing tells that of `{method.name}`: give a number'
        )
    if method.name == DEFAULT_METHOD and spec.score_space == "probability":
        raise ArgumentError(
            f"`{method.name}` holds scores against the blank picture's, which no other words change: take `score_space` = "
            f'`cosine` or `logit`, or `method="score-cam"`'
        )
    competes = method.family != "masked" or spec.score_space == "probability"
    if isinstance(windows, bool) or not isinstance(windows, int) or windows < 0:
        raise ArgumentError(f"`windows` must be a number of pixels, found {shown(windows)}")
    if (method.family == "masked" and windows) or (not competes and background is not None):
        raise ArgumentError(f"`windows` and `background` belong to dense methods, not to `{method.name}`; leave them out")
    if isinstance(background, str) or (background is not None and not isinstance(background, Sequence)):
        raise ArgumentError(f"`background` must be several words, found {shown(background)}; an empty list: none")


def as_spec(spec: str | Spec, method: Method = VL_SCORE) -> Spec:
    """A spec by name or by value; `default` is the method's own."""
    if spec == "default":
        return method.spec
    if isinstance(spec, Spec):
        return spec
    if not isinstance(spec, str) or spec not in SPECS:
        raise ArgumentError(f"`spec` must be one of {', '.join(SPECS)}, or a Spec; found {shown(spec)}")
    return SPECS[spec]


def check_masks(bundle: Bundle, spec: Spec) -> None:
    """Refuse a spec whose masks are not the ones that the bundle was built with."""
    masks = bundle.manifest.masks
    if (masks.align, masks.order) != (spec.mask_align, spec.mask_order):
        raise BundleError(
            f"spec `{spec.name}` wants masks ({spec.mask_align}, {spec.mask_order}), but `{bundle.folder}` was built with "
            f"({masks.align}, {masks.order}); build it with `python -m export.build --backbone {bundle.manifest.backbone} "
            f"--spec {spec.name}`"
        )
