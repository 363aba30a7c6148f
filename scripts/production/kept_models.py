"""The model of an earlier run, from any place with a kept copy."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from sqlalchemy.engine import Connection

from scripts.core import artifacts, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import ModelError, ReleaseError
from scripts.model import logistic_model
from scripts.model.logistic_model import Model
from scripts.production import release
from scripts.records import erasure_records, runs, scoring_records
from scripts.records.runs import Row

REPRODUCED = "reproduced"


class KeptModel(Struct, frozen=True):
    """The model of a run and its place, or None and the reason."""

    model: Model | None
    place: str


def find_releases(config: Config, stamp: str) -> Iterator[Path]:
    """Yield the model.json of each release of a model, pending releases included."""
    for folder in (artifacts.RELEASES, artifacts.PENDING):
        for path in reversed(artifacts.list_releases(config.prod_deployment_path, folder)):
            try:
                found = release.read_manifest(path).model_stamp
            except ReleaseError:
                # A damaged release is no place to take a model from; verify names the fault.
                continue
            if found == stamp:
                yield path / release.MODEL


def reproduced_path(config: Config, run_id: int) -> Path:
    """Return the folder of the reproduced model of a run."""
    return config.output_model_path / REPRODUCED / f"run_{run_id}"


def list_places(config: Config, recorded: Row) -> list[tuple[Path, str]]:
    """Return the possible paths of the model of a run, with words for people."""
    stamp = recorded["stamp"]
    made_again = reproduced_path(config, recorded["run_id"]) / release.MODEL
    return [
        (Kind.MODEL.path(config.output_model_path, stamp), "the folder of models"),
        *((path, f"release {path.parent.name}") for path in find_releases(config, stamp)),
        (made_again, "a model made again"),
    ]


def find_digest(connection: Connection, recorded: Row) -> str | None:
    """Return the hash of the model as written by the run, None if an erasure may have changed it.

    The erasure of a client takes the traces of the client out of every model that is kept.
    """
    run = runs.find_run(connection, recorded["run_id"])
    if run is None or erasure_records.count_since(connection, run["started_at"]):
        return None
    digest: str | None = (recorded["origin"] or {}).get("sha256")
    return digest


def load(path: Path, expected: str | None) -> Model | None:
    """Load a model, or None if the file is missing or is not the model of the run."""
    try:
        if expected is not None and files.digest_file(path) != expected:
            return None
        return logistic_model.load_model(path)
    except (OSError, ModelError):
        return None


def find_scored(connection: Connection, stamp: str) -> Model | None:
    """Return a model without distributions from the records of the scorings, or None."""
    content = scoring_records.find_model_content(connection, stamp)
    if content is None:
        return None
    try:
        return logistic_model.decode_model(content.encode(), Path(f"the records, model {stamp}"))
    except ModelError:
        # The records may be those of a later version.
        return None


def find(connection: Connection, config: Config, run_id: int, recorded: Row | None) -> KeptModel:
    """Find the model of a run.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    config : Config
        The installation.
    run_id : int
        The run.
    recorded : mapping or None
        The model in the records, None where the run trained none.

    Returns
    -------
    KeptModel
        From the folder of models, a release, a reproduction or the records of the scorings. A file
        with other bytes than the run wrote is not used, unless a client was erased since.
    """
    if recorded is None:
        return KeptModel(None, f"run {run_id} trained no model")
    expected = find_digest(connection, recorded)
    for path, place in list_places(config, recorded):
        model = load(path, expected)
        if model is not None:
            return KeptModel(model, place)
    model = find_scored(connection, recorded["stamp"])
    if model is not None:
        return KeptModel(model, "the records of the scorings")
    return KeptModel(
        None,
        f"the model of run {run_id} is no longer kept (retention.runs is {config.retention.runs});"
        f" python -m scripts.fullprocess --reproduce {run_id} makes it again from kept inputs",
    )
