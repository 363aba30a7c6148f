"""A release: the directory of a deployed model with its manifest, checked and put in production."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from scripts.core import artifacts, files, keys
from scripts.core.errors import ModelError, ReleaseError
from scripts.model import logistic_model
from scripts.model.logistic_model import Model, decode_model

MANIFEST = "manifest.json"
MODEL = "model.json"
PICKLE = "trainedmodel.pkl"
SCORE = "latestscore.txt"
INGESTED = "ingestedfiles.txt"
FILES = (PICKLE, SCORE, INGESTED, MODEL)

log = logging.getLogger(__name__)


class FileFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The SHA-256 and the size of a file of a release."""

    sha256: str
    n_bytes: int


class Rewrite(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The later hashes of a release while its files are rewritten."""

    dataset_sha256: str
    files: dict[str, FileFacts]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The manifest of a release.

    While files are rewritten, each file has the hash of `files` or that of `becoming`.
    """

    model_stamp: str
    f1: float
    dataset_sha256: str
    files: dict[str, FileFacts]
    versions: dict[str, str]
    becoming: Rewrite | UnsetType = UNSET

    def allowed(self, name: str) -> list[FileFacts]:
        """Return the possible facts of a file, before and after a rewrite."""
        later = self.becoming.files if self.becoming else {}
        return [self.files[name], *([later[name]] if name in later else [])]

    @property
    def datasets(self) -> list[str]:
        """The possible hashes of the model's dataset, before and after a rewrite."""
        return [self.dataset_sha256, *([self.becoming.dataset_sha256] if self.becoming else [])]


class ScoreCounts(Struct, frozen=True, kw_only=True):
    """The confusion counts behind the F1 of a release at scoring."""

    n_rows: int
    n_true_positives: int
    n_false_positives: int
    n_false_negatives: int


class Release(Struct, frozen=True, kw_only=True):
    """A loaded and checked release."""

    name: str
    path: Path
    manifest: Manifest
    model: Model
    score_counts: ScoreCounts | None = None


def describe_file(content: bytes) -> FileFacts:
    """Return the SHA-256 and the size of a file's content."""
    return FileFacts(sha256=files.digest(content), n_bytes=len(content))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a release."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise ReleaseError(f"{folder / MANIFEST} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{folder / MANIFEST} is damaged: {error}.") from error


def has_score(content: bytes, f1: float) -> bool:
    """Return whether the first line of a score file is the given F1."""
    try:
        return float(content.splitlines()[0]) == f1
    except (ValueError, IndexError):
        return False


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest as JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"


def read_listed(path: Path, allowed: Collection[FileFacts]) -> bytes:
    """Read a file of a release and check the content against the manifest."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}.") from error
    if describe_file(content) not in allowed:
        raise ReleaseError(f"{path} is damaged: its SHA-256 is not the manifest's.")
    return content


def read_counts(score: bytes) -> ScoreCounts | None:
    """Read the confusion counts from a score file, None if a count is missing."""
    fields = dict(line.split(" ", 1) for line in score.decode().splitlines() if " " in line)
    try:
        return msgspec.convert(fields, ScoreCounts, strict=False)
    except msgspec.ValidationError:
        return None


def load_release(folder: Path) -> Release:
    """Load a release and check every file.

    Parameters
    ----------
    folder : Path
        The directory of the release, not the link `current`, which may move meanwhile.

    Returns
    -------
    Release
        The manifest and the model. Every file has the size and SHA-256 of the manifest.

    Raises
    ------
    ReleaseError
        If a file is missing or damaged, or the model is not fit to predict.
    """
    manifest = read_manifest(folder)
    if sorted(manifest.files) != sorted(FILES):
        raise ReleaseError(f"{folder / MANIFEST} lists {sorted(manifest.files)}, not {FILES}.")
    contents = {name: read_listed(folder / name, manifest.allowed(name)) for name in FILES}
    if not has_score(contents[SCORE], manifest.f1):
        raise ReleaseError(f"{folder / MANIFEST} is damaged: it disagrees with {SCORE}.")
    try:
        decoded = decode_model(contents[MODEL], folder / MODEL)
    except ModelError as error:
        raise ReleaseError(str(error)) from error
    is_same = decoded.dataset.sha256 in manifest.datasets
    if not is_same or manifest.versions != decoded.versions:
        raise ReleaseError(f"{folder / MANIFEST} is damaged: it disagrees with {MODEL}.")
    return Release(
        name=folder.name,
        path=folder,
        manifest=manifest,
        model=decoded,
        score_counts=read_counts(contents[SCORE]),
    )


def find_faults(folder: Path) -> list[str]:
    """Return every fault of a release: each file unlike the manifest, else the load error."""
    try:
        manifest = read_manifest(folder)
    except ReleaseError as error:
        return [str(error)]
    faults = []
    for name in sorted(manifest.files):
        try:
            read_listed(folder / name, manifest.allowed(name))
        except ReleaseError as error:
            faults.append(str(error))
    try:
        load_release(folder)
    except ReleaseError as error:
        # With a faulty file listed already, this error repeats the fault.
        return faults or [str(error)]
    return faults


def rewrite(folder: Path, contents: Mapping[str, bytes], dataset_sha256: str) -> bool:
    """Replace files of a release without an instant of a damaged release.

    Parameters
    ----------
    folder : Path
        The directory of the release, which may serve meanwhile.
    contents : mapping of str to bytes
        The new contents by name.
    dataset_sha256 : str
        The hash of the dataset in the new model.

    Returns
    -------
    bool
        Whether anything was changed. A killed rewriting may be repeated.
    """
    manifest = read_manifest(folder)
    facts = {name: describe_file(content) for name, content in contents.items()}
    final = msgspec.structs.replace(
        manifest, files=manifest.files | facts, dataset_sha256=dataset_sha256, becoming=UNSET
    )
    if final == manifest:
        return False
    becoming = Rewrite(dataset_sha256=dataset_sha256, files=facts)
    both = msgspec.structs.replace(manifest, becoming=becoming)
    files.write_whole(folder / MANIFEST, encode_manifest(both))
    for name, content in contents.items():
        files.write_whole(folder / name, content)
    files.write_whole(folder / MANIFEST, encode_manifest(final))
    return True


def switch(prod_folder: Path, path: Path) -> None:
    """Switch production to a release: the fixed links first, then the deciding link `current`."""
    for name in FILES:
        target = f"{artifacts.CURRENT}/{name}"
        link = prod_folder / name
        if not link.is_symlink() or str(link.readlink()) != target:
            files.replace_link(link, target)
    files.replace_link(prod_folder / artifacts.CURRENT, f"{artifacts.RELEASES}/{path.name}")


def unseal_hashes(loaded: Release, prod_folder: Path) -> Release:
    """Return a release with row hashes unsealed by the key of the installation.

    Without the key the hashes stay sealed, and nothing else of the release needs them.
    """
    try:
        key = keys.find_key(prod_folder)
    except ReleaseError as error:
        log.warning("Rows of production cannot be distinguished from new ones: %s", error)
        return loaded
    return msgspec.structs.replace(loaded, model=logistic_model.unseal(loaded.model, key))


def load_current(prod_folder: Path) -> Release | None:
    """Load the release in production by a single look-up of `current`, None before the first."""
    target = artifacts.current_target(prod_folder)
    return (
        None if target is None else unseal_hashes(load_release(prod_folder / target), prod_folder)
    )
