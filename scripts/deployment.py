"""The deployment step: a release directory of the model, and an atomic switch to the release."""

import logging
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pandas as pd
from msgspec import Struct

from scripts.core import artifacts, console, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import (
    ConfigError,
    DatasetError,
    InsufficientDataError,
    NotMadeYetError,
    ReleaseError,
)
from scripts.data import dataset
from scripts.model import logistic_model, metrics
from scripts.model.logistic_model import Model
from scripts.production import release, rollback
from scripts.production.release import Manifest, Release
from scripts.production.run_context import RunContext
from scripts.records.tables import DeploymentKind

log = logging.getLogger(__name__)


class Sources(Struct, frozen=True):
    """The source files of a release, and the stamp of the model."""

    files: Mapping[str, Path]
    stamp: str


def find_dataset(config: Config, sha256: str) -> Path:
    """Find the training data of a model by digest."""
    folder = config.output_folder_path
    for path in reversed(artifacts.list_dated(folder, Kind.DATASET)):
        if files.digest_file(path) == sha256:
            return path
    for path in reversed(artifacts.list_dated(folder, Kind.PARTS)):
        if artifacts.read_identity(path) == sha256:
            return path
    raise NotMadeYetError(
        f"{config.output_folder_path} no longer has the dataset this model was trained on; run"
        " python -m scripts.ingestion, .training and .scoring again."
    )


def find_sources(config: Config, model_path: Path | None, dataset_path: Path | None) -> Sources:
    """Return the source files of a model, by default the latest."""
    if model_path is None:
        model_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    if dataset_path is None:
        dataset_path = find_dataset(config, logistic_model.load_model(model_path).dataset.sha256)
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


def check_score(path: Path, f1: float) -> None:
    """Raise unless the first line of a score file is the model's F1."""
    if not release.has_score(path.read_bytes(), f1):
        raise ReleaseError(
            f"{path} does not give the model's F1 on the test rows, {f1}, on its first line; run"
            " python -m scripts.scoring again."
        )


def write_release(folder: Path, sources: Sources, f1: float) -> None:
    """Write the files of a release and, last, the manifest into a new folder."""
    contents = {name: path.read_bytes() for name, path in sources.files.items()}
    candidate = logistic_model.decode_model(contents[release.MODEL], sources.files[release.MODEL])
    manifest = Manifest(
        model_stamp=sources.stamp,
        f1=f1,
        dataset_sha256=candidate.dataset.sha256,
        files={name: release.describe_file(content) for name, content in contents.items()},
        versions=candidate.versions,
    )
    folder.mkdir()
    for name, content in contents.items():
        files.write_whole(folder / name, content)
    files.write_whole(folder / release.MANIFEST, release.encode_manifest(manifest))


def measure_f1(candidate: Model, table: pd.DataFrame) -> float:
    """Compute the F1 of a model on the test rows."""
    f1 = metrics.evaluate_model(candidate, table).f1
    if f1 is None:
        raise InsufficientDataError("F1 is not defined on the test rows; nothing was deployed.")
    return f1


def check_predictions(loaded: Release, candidate: Model, table: pd.DataFrame) -> None:
    """Raise unless a release predicts the candidate's probabilities on the test rows."""
    arrays = dataset.feature_arrays(table, candidate.schema)
    expected = logistic_model.probabilities(candidate, arrays)
    if not np.array_equal(logistic_model.probabilities(loaded.model, arrays), expected):
        raise ReleaseError(f"{loaded.path} does not give the probabilities of its model.")


def make_release(
    prod_folder: Path,
    sources: Sources,
    f1: float,
    now: datetime,
    folder: str = artifacts.RELEASES,
) -> Path:
    """Write a release under the final name, not in production yet, and return the path."""
    releases = prod_folder / folder
    files.make_folder(releases)
    # A number is of one release, whether the release serves or waits for approval.
    earlier = [
        int(path.name.split("_")[0])
        for name in (artifacts.RELEASES, artifacts.PENDING)
        for path in artifacts.list_releases(prod_folder, name)
    ]
    counter = max(earlier, default=0) + 1
    name = f"{counter:04d}_{artifacts.next_stamp(now, [releases])}"
    temporary = releases / files.temporary_name(name)
    try:
        write_release(temporary, sources, f1)
        temporary.rename(releases / name)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    files.sync_folder(releases)
    return releases / name


def prepare(
    config: Config,
    sources: Sources,
    f1: float | None,
    context: RunContext,
    folder: str = artifacts.RELEASES,
) -> Release:
    """Make a release in a folder of the deployment folder, and check the release."""
    candidate = logistic_model.load_model(sources.files[release.MODEL])
    table, _ = context.test_data.read(candidate.schema)
    f1 = measure_f1(candidate, table) if f1 is None else f1
    check_score(sources.files[release.SCORE], f1)
    path = make_release(config.prod_deployment_path, sources, f1, datetime.now(UTC), folder)
    try:
        loaded = release.load_release(path)
        check_predictions(loaded, candidate, table)
    except (ReleaseError, DatasetError):
        shutil.rmtree(path)
        raise
    return loaded


def main(
    config: Config,
    *,
    model_path: Path | None = None,
    dataset_path: Path | None = None,
    f1: float | None = None,
    context: RunContext | None = None,
) -> Release:
    """Make a release of the latest scored model, check the release, and switch production."""
    context = context or RunContext(config)
    sources = find_sources(config, model_path, dataset_path)
    loaded = prepare(config, sources, f1, context)
    release.switch(config.prod_deployment_path, loaded.path)
    context.set_release(loaded)
    log.info(
        "Deployed model %s as release %s, F1 %.4f.", sources.stamp, loaded.name, loaded.manifest.f1
    )
    return loaded


def make_candidate(
    config: Config, *, model_path: Path, dataset_path: Path, f1: float | None, context: RunContext
) -> Release:
    """Make a release pending for approval, and check the release."""
    sources = find_sources(config, model_path, dataset_path)
    return prepare(config, sources, f1, context, artifacts.PENDING)


def check_needs_no_approval(config: Config) -> None:
    """Raise if a person approves each release.

    Raises
    ------
    ConfigError
        With the command that approves a candidate.
    """
    if config.promotion.mode == "approve":
        raise ConfigError(
            "promotion.mode is approve, and a deployment by hand would serve a model that nobody"
            " approved. Approve the candidate that waits: python -m scripts.promotion approve"
            " --reason TEXT."
        )


def deploy(config: Config) -> None:
    """Make a release of the latest scored model, check the release, and switch production."""
    check_needs_no_approval(config)
    previous = artifacts.current_name(config.prod_deployment_path)
    deployed = main(config)
    rollback.record_switch(
        config, DeploymentKind.DEPLOY, deployed, previous, "by hand, without a comparison"
    )


def make_program() -> click.Group:
    """Return the command line: deploy, list, roll back or verify releases."""
    reason = click.Option(
        ["--reason"], required=True, callback=console.check_reason,
        help="Reason, kept in the records.",
    )  # fmt: skip
    wanted = click.Argument(["release_name"], required=False, metavar="[RELEASE]")
    locked = console.with_config(rollback.main, exclusive=True)
    return console.make_command_group(
        "Deploy the latest scored model, list and verify the releases, or roll back to a release.",
        [
            console.make_command(console.with_config(deploy, exclusive=True), (), "deploy"),
            console.make_command(console.with_config(rollback.show_releases), (), "list"),
            console.make_command(locked, (wanted, reason), "rollback"),
            console.make_command(console.with_config(rollback.verify), (), "verify"),
        ],
    )


if __name__ == "__main__":
    console.run_program(make_program())
