"""What is refused at the front door: specs, scenes and pictures that do not fit the model that is open."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from engine.frame import Frame
from engine.manifest import Manifest
from engine.records import shown
from engine.spec import SPECS, Spec
from runtime.bundles import Bundle
from runtime.errors import ArgumentError, BundleError, PictureError, SceneError
from runtime.scene import Scene


def fitting_scene(scene: Scene, manifest: Manifest, fingerprint: str, spec: Spec) -> Scene:
    """Refuse a scene that another model made, or that shows the model something else than this spec would."""
    if not isinstance(scene, Scene):
        raise SceneError(
            f"`scene` is a {type(scene).__name__}; encode the picture first: `scene = localizer.encode(picture)`, or ask it "
            "at once: `localizer(picture, query)`"
        )
    maps, dim = manifest.maps, manifest.dim
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


def as_spec(spec: str | Spec) -> Spec:
    """A spec by name or by value."""
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
