"""The bundles of this machine: where they live, finding one by name, opening it verified, and looking them all over."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from engine.manifest import DENSE, MANIFEST, PROMPTED, TEXT_FILES, TEXT_HALF, FileInfo, Manifest, ManifestError
from engine.records import shown
from engine.signatures import signature_faults
from runtime.errors import BundleError
from runtime.graph_files import MOST_BYTES, GraphFileError, faults_of, read_graph
from runtime.logs import LOG

DEFAULT_MODEL = "demo-rn"
SHIPPED = Path(__file__).parent / "models"
OF_METHODS = (DENSE, PROMPTED)
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")  # what files of weights end in


def bundle_home() -> Path:
    """The folder of built bundles: `$VLSCORE_HOME`, else `vlscore/bundles` in the platform's cache folder."""
    chosen = os.environ.get("VLSCORE_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs  # here: only needed when a name is looked up

    return Path(platformdirs.user_cache_dir("vlscore")) / "bundles"


def bundle_name(backbone: str, tag: str, precision: str) -> str:
    """The folder name of a build: plain for OpenAI's weights in fp32, else with what differs."""
    tag = Path(tag).stem if tag != "none" else "random"
    parts = [backbone, *([] if tag in ("openai", backbone) else [tag]), *([] if precision == "fp32" else [precision])]
    return "-".join(part.replace("/", "-").replace(":", "-") for part in parts)


def find_bundle(model: str | os.PathLike[str] | None, home: Path | None = None) -> Path:
    """Find a bundle by folder or by name, first among the built ones, then among those shipped with the package."""
    if model is not None and not isinstance(model, str | os.PathLike):
        raise BundleError(f"`model` must be a bundle's name or folder, found {shown(model)} ({type(model).__name__})")
    asked = DEFAULT_MODEL if model is None else str(os.fspath(model))
    if not asked.strip():
        raise BundleError("`model` is empty; give a bundle's name or folder, or leave it out for the shipped model")
    try:
        homes = [home or bundle_home(), SHIPPED]
        for folder in (Path(asked).expanduser(), *(each / asked for each in homes)):
            if (folder / MANIFEST).is_file():
                return folder
    except (OSError, RuntimeError) as error:  # a name too long, a user that does not exist
        raise BundleError(f"`{asked:.200}` cannot be looked for: {error}") from error
    if asked.startswith("hf:") or (Path(asked).is_file() and Path(asked).suffix in WEIGHTS):
        raise BundleError(
            f"`{asked}` is weights, not a bundle; make one: `vlscore pull MODEL --from {asked}`, where MODEL is what they are "
            "weights of, such as ViT-B-32"
        )
    if isinstance(model, os.PathLike) or Path(asked).is_dir() or os.sep in asked:
        raise BundleError(
            f"`{asked}` is not a bundle: it has no {MANIFEST}. Build one with "
            f"`python -m export.build --backbone RN50 --out {asked}`"
        )
    raise BundleError(unknown(asked, homes))


def installed(*homes: Path) -> list[str]:
    """Names of the bundles that are here, built ones and shipped ones."""
    return sorted({entry.parent.name for each in homes or (bundle_home(), SHIPPED) for entry in each.glob(f"*/{MANIFEST}")})


def unknown(asked: str, homes: list[Path]) -> str:
    """Say what was looked for, where, what is there, and how to build it."""
    there = installed(*homes)
    near = difflib.get_close_matches(asked, there, n=3, cutoff=0.4)
    lines = [f"no bundle named `{asked}` in {homes[0]}" + (f"; there are {', '.join(there)}" if there else "")]
    if near:
        lines.append(f"did you mean {', '.join(near)}?")
    lines.append(f"build it (this needs the `export` extra): python -m export.build --backbone {asked}")
    return "\n".join(lines)


Stamp = tuple[int, int, int]  # of a file: its number on the disk, its size, and when it was last written to


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its manifest, the hash of that, the folder, and which of its files were checked."""

    folder: Path
    manifest: Manifest
    sha256: str  # of the manifest, which holds the hash of every other file: pinning it pins the whole bundle
    stamps: dict[str, Stamp] = field(default_factory=dict, repr=False)

    def graph(self, name: str) -> Path:
        """The file of a graph; those of methods are read when they are asked for, since a bundle may have twenty."""
        if name.startswith(OF_METHODS):
            check_graph(self.folder, self.manifest.graphs[name].file, name, self.manifest)
        return self.folder / self.manifest.graphs[name].file

    def file(self, name: str) -> Path:
        """Any other file of the bundle that was checked when it was opened."""
        if name not in self.stamps:
            raise BundleError(
                f"bundle `{self.folder}`: its manifest does not list `{name}`; {repair(self.manifest, self.folder)}"
            )
        return self.folder / name

    def check_unchanged(self) -> None:
        """Refuse to go on when a file is no longer the one whose hash was checked: graphs are loaded when first needed."""
        for name, stamp in self.stamps.items():
            if stamp_of(self.folder / name) != stamp:
                raise BundleError(
                    f"bundle `{self.folder}`: `{name}` was built anew or altered while the bundle was open; open a new Localizer"
                )


def open_bundle(folder: Path, *, scenes_only: bool = False, sha256: str | None = None) -> Bundle:
    """Open a bundle: every file that will be used has the size and hash of the manifest, and every graph is a known kind.

    With `scenes_only` the image half may be missing, since saved scenes do not need it. `sha256` pins the manifest itself.
    """
    data = read_manifest_bytes(folder)
    manifest, digest = parse_manifest(data, folder), hashlib.sha256(data).hexdigest()
    if sha256 is not None and (not isinstance(sha256, str) or digest != sha256.lower()):
        raise BundleError(
            f"bundle `{folder}` has the hash {digest}, but {shown(sha256)} was asked for; `vlscore doctor` shows it"
        )
    for fault in signature_faults(manifest):
        raise BundleError(f"bundle `{folder}` contradicts itself: {fault}; {repair(manifest, folder)}")
    graphs = {graph.file: name for name, graph in manifest.graphs.items() if not scenes_only or name in TEXT_HALF}
    stamps = {name: check_file(folder, name, manifest) for name in (manifest.text_files if scenes_only else manifest.files)}
    for file, name in graphs.items():
        if not name.startswith(OF_METHODS):
            check_graph(folder, file, name, manifest)
    bundle = Bundle(folder, manifest, digest, stamps)
    bundle.check_unchanged()  # graphs were read once more after their hashes
    LOG.info("model %s in %s: %d files verified", manifest.backbone, folder, len(stamps))
    return bundle


def open_words(folder: Path) -> Bundle:
    """Open only the manifest, the tokenizer and the templates of a bundle, whose graphs are run by a server."""
    data = read_manifest_bytes(folder)
    manifest = parse_manifest(data, folder)
    stamps = {name: check_file(folder, name, manifest) for name in TEXT_FILES}
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest(), stamps)


def read_manifest(folder: Path) -> Manifest:
    """Read and validate a bundle's `manifest.json`."""
    return parse_manifest(read_manifest_bytes(folder), folder)


def read_manifest_bytes(folder: Path) -> bytes:
    """The content of a bundle's `manifest.json`."""
    path = folder / MANIFEST
    try:
        if not path.is_file():
            raise BundleError(f"bundle `{folder}` has no {MANIFEST}; build it again")
        if path.stat().st_size > MOST_BYTES:
            raise BundleError(f"bundle `{folder}`: {MANIFEST} is {path.stat().st_size} bytes long, which no manifest is")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"bundle `{folder}`: {MANIFEST} cannot be read: {error}") from error


def parse_manifest(data: bytes, folder: Path) -> Manifest:
    """Validate the content of a `manifest.json`."""
    try:
        return Manifest.from_dict(json.loads(data.decode("utf-8")))
    except (ManifestError, ValueError, RecursionError) as error:
        raise BundleError(
            f"bundle `{folder}`: {MANIFEST} cannot be used: {error}\nbuild it again: "
            f"`python -m export.build --backbone NAME --force --out {folder}`"
        ) from None


def check_file(folder: Path, name: str, manifest: Manifest) -> Stamp:
    """Compare one file with the size and the hash that the manifest has for it."""
    path, known = folder / name, manifest.files[name]
    try:
        before = stamp_of(path)
        if before is None:
            raise BundleError(f"bundle `{folder}` lacks `{name}`; {repair(manifest, folder)}")
        refuse_other_content(path, before[1], known, name, manifest, folder)
        if stamp_of(path) != before:
            raise BundleError(f"bundle `{folder}`: `{name}` was altered while it was read; open it again")
    except OSError as error:
        raise BundleError(f"bundle `{folder}`: `{name}` cannot be read: {error}") from error
    return before


def refuse_other_content(path: Path, size: int, known: FileInfo, name: str, manifest: Manifest, folder: Path) -> None:
    """Refuse a file of another size or hash than the manifest has for it."""
    cure = repair(manifest, folder)
    if size != known.bytes:
        raise BundleError(f"bundle `{folder}`: `{name}` has {size} bytes instead of {known.bytes} (truncated?); {cure}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != known.sha256:
        raise BundleError(f"bundle `{folder}`: `{name}` was altered after it was built (its hash differs); {cure}")


def check_graph(folder: Path, file: str, name: str, manifest: Manifest) -> None:
    """Refuse a graph that holds anything but what bundles are made of."""
    if manifest.files[file].bytes > MOST_BYTES:
        raise BundleError(f"bundle `{folder}`: the graph `{file}` is {manifest.files[file].bytes} bytes long, which no graph is")
    try:
        faults = list(faults_of(read_graph((folder / file).read_bytes()), name, manifest))
    except (GraphFileError, OSError) as error:
        faults = [str(error)]
    if faults:
        raise BundleError(f"bundle `{folder}`: the graph `{file}` cannot be used: {faults[0]}; {repair(manifest, folder)}")


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file is replaced or written to; None when it is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if path.is_file() else None


def repair(manifest: Manifest, folder: Path) -> str:
    """The command that makes a bundle anew."""
    return f"build it again: `python -m export.build --backbone {manifest.backbone} --force --out {folder}`"
