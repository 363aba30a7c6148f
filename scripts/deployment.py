"""Puts a model into production: one release directory, one atomic switch."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from scripts import artifacts, dataset, model, release
from scripts.artifacts import Kind
from scripts.config import Config
from scripts.console import run_as_script
from scripts.errors import DatasetError, NotMadeYetError, ReleaseError
from scripts.release import Manifest, Release

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """The files a release is made of, and the stamp of its model."""

    files: Mapping[str, Path]
    stamp: str


def find_sources(config: Config, model_path: Path | None, dataset_path: Path | None) -> Sources:
    """Name the files of the model to deploy; the latest one unless told."""
    if model_path is None:
        model_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    if dataset_path is None:
        dataset_path = find_dataset(config, model.load_model(model_path).dataset.sha256)
    stamp, folder = artifacts.stamp_of(model_path), config.output_model_path
    score_path = Kind.SCORE.path(folder, stamp)
    if not score_path.exists():
        raise NotMadeYetError(f"{score_path} is missing; run python -m scripts.scoring first.")
    ingested = Kind.INGESTED.path(dataset_path.parent, artifacts.stamp_of(dataset_path))
    return Sources(
        {
            release.PICKLE: Kind.PICKLE.path(folder, stamp),
            release.SCORE: score_path,
            release.INGESTED: ingested,
            release.MODEL: model_path,
        },
        stamp,
    )


def find_dataset(config: Config, sha256: str) -> Path:
    """Find the dataset a model was trained on, by its content."""
    for path in reversed(artifacts.list_dated(config.output_folder_path, Kind.DATASET)):
        if artifacts.digest_file(path) == sha256:
            return path
    raise NotMadeYetError(
        f"{config.output_folder_path} no longer has the dataset this model was trained on; run"
        " python -m scripts.ingestion, .training and .scoring again."
    )


def read_f1(content: bytes, origin: Path) -> float:
    """Read the F1 off the first line of a latestscore.txt."""
    try:
        return float(content.decode().splitlines()[0])
    except (ValueError, IndexError) as error:
        raise ReleaseError(f"{origin} has no F1 on its first line; run scoring again.") from error


def write_release(folder: Path, sources: Sources) -> None:
    """Write the files of a release and, last, its manifest, into a new folder."""
    contents = {name: path.read_bytes() for name, path in sources.files.items()}
    candidate = model.decode_model(contents[release.MODEL], sources.files[release.MODEL])
    manifest = Manifest(
        model_stamp=sources.stamp,
        f1=read_f1(contents[release.SCORE], sources.files[release.SCORE]),
        dataset_sha256=candidate.dataset.sha256,
        files={name: release.describe_file(content) for name, content in contents.items()},
        versions=candidate.versions,
    )
    folder.mkdir()
    for name, content in contents.items():
        artifacts.write_whole(folder / name, content)
    spelled = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2)
    artifacts.write_whole(folder / release.MANIFEST, spelled + b"\n")


def check_answers(made: Release, candidate_path: Path, config: Config) -> None:
    """Refuse a release that does not give the candidate's own probabilities on the test rows."""
    candidate = model.load_model(candidate_path)
    table, _ = dataset.read_test_table(config.test_data_path, candidate.schema)
    arrays = dataset.feature_arrays(table, candidate.schema)
    expected = model.probabilities(candidate, arrays)
    if not np.array_equal(model.probabilities(made.model, arrays), expected):
        raise ReleaseError(f"{made.path} does not give the probabilities of its model.")


def make_release(prod_folder: Path, sources: Sources, now: datetime) -> Path:
    """Write a release beside the others under its final name; nothing serves it yet."""
    releases = prod_folder / artifacts.RELEASES
    artifacts.make_folder(releases)
    earlier = artifacts.list_releases(prod_folder)
    counter = int(earlier[-1].name.split("_")[0]) + 1 if earlier else 1
    name = f"{counter:04d}_{artifacts.next_stamp(now, [releases])}"
    temporary = releases / f".{name}{artifacts.TEMPORARY_SUFFIX}"
    try:
        write_release(temporary, sources)
        temporary.rename(releases / name)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    artifacts.sync_folder(releases)
    return releases / name


def switch(prod_folder: Path, made: Path) -> None:
    """Let a release serve: the fixed links first, then `current`, which alone decides."""
    for name in release.FILES:
        target = f"{artifacts.CURRENT}/{name}"
        link = prod_folder / name
        if not link.is_symlink() or str(link.readlink()) != target:
            artifacts.replace_link(link, target)
    artifacts.replace_link(prod_folder / artifacts.CURRENT, f"{artifacts.RELEASES}/{made.name}")


def remove_old_releases(prod_folder: Path, n_kept: int) -> int:
    """Remove the oldest releases, never the current one, and count them."""
    current = artifacts.current_target(prod_folder)
    outdated = [
        path
        for path in artifacts.list_releases(prod_folder)[:-n_kept]
        if f"{artifacts.RELEASES}/{path.name}" != current
    ]
    for path in outdated:
        # Renamed first, so that a half-removed release never bears a release's name.
        hidden = path.with_name(f".{path.name}{artifacts.TEMPORARY_SUFFIX}")
        path.rename(hidden)
        shutil.rmtree(hidden)
    return len(outdated)


def main(
    config: Config, *, model_path: Path | None = None, dataset_path: Path | None = None
) -> Release:
    """Make a release of the latest scored model, check it as the app would, and let it serve."""
    sources = find_sources(config, model_path, dataset_path)
    prod_folder = config.prod_deployment_path
    made = make_release(prod_folder, sources, datetime.now(UTC))
    try:
        loaded = release.load_release(made)
        check_answers(loaded, sources.files[release.MODEL], config)
    except (ReleaseError, DatasetError):
        shutil.rmtree(made)
        raise
    switch(prod_folder, made)
    log.info(
        "Deployed model %s as release %s, F1 %.4f.", sources.stamp, made.name, loaded.manifest.f1
    )
    return loaded


if __name__ == "__main__":
    run_as_script(main, exclusive=True)
