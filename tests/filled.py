"""Templates of the tiny models, small enough to keep; made by `python -m tests.filled`."""

from __future__ import annotations

from pathlib import Path

from runtime.filling.template import Template, load, open_methods

FOLDER = Path(__file__).parent / "templates"
TINY = ("tiny-rn", "tiny-vit")
METHODS = {"tiny-rn": "maskclip,naclip,gscorecam", "tiny-vit": "naclip,clip-es,affinity"}


def open_tiny(name: str) -> Template:
    """The kept template of a tiny model."""
    return load((FOLDER / f"{name}-quickgelu.template").read_bytes())


def open_tiny_methods(name: str) -> Template:
    """The kept template of a tiny model's methods."""
    found = open_methods(f"{name}-quickgelu", FOLDER)
    assert found is not None
    return found


def main() -> None:
    """Make them again."""
    import tempfile

    from export import method_templates, templates
    from export.backbones import find_backbone
    from tests import configs

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for name, config in zip(TINY, (configs.TINY_RN, configs.TINY_VIT), strict=True):
            path = configs.write_config(Path(place) / f"{name}.json", config)
            templates.write(str(path), "quickgelu", "fp32", FOLDER, {})
            loaded = templates.random_weights(find_backbone(str(path)), "quickgelu", templates.SEEDS[0])
            base = method_templates.image_half(open_tiny(name))
            (Path(place) / "traced").mkdir(exist_ok=True)
            made = method_templates.make(loaded, base, Path(place) / "traced", METHODS[name])
            method_templates.keep(f"{name}-quickgelu", made, FOLDER)


if __name__ == "__main__":
    main()
