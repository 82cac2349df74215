"""Templates of the tiny models, small enough to keep; made by `python -m tests.filled`."""

from __future__ import annotations

from pathlib import Path

from runtime.filling.template import Template, load

FOLDER = Path(__file__).parent / "templates"
TINY = ("tiny-rn", "tiny-vit")


def open_tiny(name: str) -> Template:
    """The kept template of a tiny model."""
    return load((FOLDER / f"{name}-quickgelu.template").read_bytes())


def main() -> None:
    """Make them again."""
    import tempfile

    from export import templates
    from tests import configs

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for name, config in zip(TINY, (configs.TINY_RN, configs.TINY_VIT), strict=True):
            path = configs.write_config(Path(place) / f"{name}.json", config)
            templates.write(str(path), "quickgelu", "fp32", FOLDER, {})


if __name__ == "__main__":
    main()
