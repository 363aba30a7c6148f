"""Reproduction: the model of an earlier run is made again, and compared by hash."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from scripts import ingestion, training
from scripts.core import erased_clients, files, keys
from scripts.core.config import (
    LATEST_ROWS,
    Config,
    EngineSettings,
    IngestionSettings,
    OutcomeSettings,
    Schema,
    TrainingSettings,
)
from scripts.core.config_file import read_path
from scripts.core.errors import PipelineError, ReproductionError
from scripts.model import candidate
from scripts.pipeline import kept_inputs
from scripts.production import kept_models
from scripts.records import database, erasure_records, runs, tables
from scripts.records.runs import Row
from scripts.records.tables import FileRole

SECTIONS: Mapping[str, type] = {
    "schema": Schema,
    "ingestion": IngestionSettings,
    "training": TrainingSettings,
    "outcomes": OutcomeSettings,
    "engine": EngineSettings,
}
PLACES = {FileRole.INPUT: "input", FileRole.OUTCOME: "outcomes"}

log = logging.getLogger(__name__)


def read_run(config: Config, run_id: int) -> tuple[Row, Sequence[Row]]:
    """Read the recorded model and the files of a run.

    Raises
    ------
    ReproductionError
        If there is no such run, it trained no model, or an earlier version recorded it.
    """
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.reading(engine) as connection,
    ):
        run = runs.find_run(connection, run_id)
        model = runs.newest_row(connection, tables.models, run_id=run_id)
        recorded = runs.files_of_run(connection, run_id)
        n_erased = 0 if run is None else erasure_records.count_since(connection, run["started_at"])
    if run is None:
        raise ReproductionError(
            f"There is no run {run_id}; python -m scripts.fullprocess --history 20 lists them."
        )
    if model is None:
        raise ReproductionError(f"Run {run_id} trained no model, so there is nothing to reproduce.")
    if model["origin"] is None:
        raise ReproductionError(
            f"Run {run_id} was recorded by an earlier version, without the settings and the hash of"
            " its model. Later runs have them."
        )
    if not recorded:
        raise ReproductionError(
            f"The files of run {run_id} are forgotten: retention.history keeps those of the newest"
            f" {config.retention.history} runs."
        )
    return {**model, "versions": run["versions"] or {}, "n_erased": n_erased}, recorded


def place_inputs(config: Config, recorded: Sequence[Row], folder: Path) -> None:
    """Place the files of a run in a folder, under their names.

    Raises
    ------
    ReproductionError
        Which files are missing, and what to do.
    """
    missing = []
    for row in recorded:
        if row["role"] not in PLACES or row["refused"]:
            continue
        source = kept_inputs.find(config, row)
        if source is None:
            missing.append(f"{row['path']} with the SHA-256 {row['sha256']}")
        else:
            name = Path(str(row["path"])).name
            kept_inputs.place(source, folder / PLACES[row["role"]] / name)
    if missing:
        raise ReproductionError(
            f"{len(missing)} input files are missing: {'; '.join(missing)}. With retention.inputs"
            " set to true, a run keeps a copy of each."
        )


def restore_config(config: Config, origin: Mapping[str, Any], folder: Path) -> Config:
    """Return the settings of a run, with new folders below a work folder."""
    sections = {
        name: None
        if origin[name] is None
        else msgspec.convert(origin[name], kind, dec_hook=read_path)
        for name, kind in SECTIONS.items()
    }
    declared = sections["outcomes"]
    if declared is not None and declared.input_folder_path is not None:
        place = folder / PLACES[FileRole.OUTCOME]
        sections["outcomes"] = msgspec.structs.replace(declared, input_folder_path=place)
    return msgspec.structs.replace(
        config,
        input_folder_path=folder / PLACES[FileRole.INPUT],
        test_data_path=LATEST_ROWS if origin["latest_rows"] else folder / "test",
        output_folder_path=folder / "ingested",
        output_model_path=folder / "models",
        prod_deployment_path=folder / "production",
        **sections,
    )


def describe_origin(config: Config, model_path: Path) -> dict[str, Any]:
    """Return the facts for a reproduction of the model: its hash and the settings."""
    sections = {name: getattr(config, name) for name in SECTIONS}
    return {
        **json.loads(msgspec.json.encode(sections, enc_hook=str)),
        "latest_rows": config.test_data_path is LATEST_ROWS,
        "sha256": files.digest_file(model_path),
    }


def describe_erased(n_erased: int) -> str:
    """Return a sentence about the clients erased since a run, "" without any."""
    if not n_erased:
        return ""
    subject = "A client was" if n_erased == 1 else f"{n_erased} clients were"
    return f" {subject} erased since, and models are made again without their rows."


def explain_difference(recorded: Mapping[str, str]) -> str:
    """Describe the differences from the versions of the run."""
    now = candidate.package_versions()
    moved = [
        f"{name} {recorded[name]}, now {version}"
        for name, version in now.items()
        if name in recorded and recorded[name] != version
    ]
    if moved:
        return f"The run had other versions: {'; '.join(moved)}."
    return (
        "Files, settings and versions are those of the run; its machine may have had another kind"
        " of processor."
    )


def make_again(
    config: Config, recorded: Sequence[Row], origin: Mapping[str, Any], folder: Path
) -> Path:
    """Reproduce the model of a run in a folder, and return the path of model.json."""
    place_inputs(config, recorded, folder)
    restored = restore_config(config, origin, folder)
    # Hashes of rows in model.json have the key of the installation.
    key = keys.find_key(config.prod_deployment_path)
    if key is not None:
        files.write_whole(restored.prod_deployment_path / keys.KEY, key)
    with erased_clients.refused(erased_clients.find(config.prod_deployment_path)):
        ingested = ingestion.main(restored)
    return training.main(restored, dataset_path=ingested.dataset_path).model_path


def main(config: Config, *, run_id: int) -> Path:
    """Reproduce the model of an earlier run, and compare the hashes.

    Parameters
    ----------
    config : Config
        The installation.
    run_id : int
        The run.

    Returns
    -------
    Path
        The model.json, with the same bytes as that of the run. The copies of the inputs are removed
        again.

    Raises
    ------
    ReproductionError
        If an input, a setting or a version is missing, or the bytes differ.
    """
    model, recorded = read_run(config, run_id)
    folder = kept_models.reproduced_path(config, run_id)
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "work"
    try:
        made = make_again(config, recorded, model["origin"], work)
        kept = files.write_whole(folder / "model.json", made.read_bytes())
    except ReproductionError as error:
        raise ReproductionError(f"{error}{describe_erased(model['n_erased'])}") from error
    except PipelineError as error:
        raise ReproductionError(
            f"Run {run_id} cannot be made again: {error} {explain_difference(model['versions'])}"
            f"{describe_erased(model['n_erased'])}"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    found = files.digest_file(kept)
    if found != model["origin"]["sha256"]:
        why = describe_erased(model["n_erased"]).strip() or explain_difference(model["versions"])
        raise ReproductionError(
            f"The model of run {run_id} has other bytes than then: SHA-256 {found}, expected"
            f" {model['origin']['sha256']}. {why} It lies in {kept}."
        )
    log.info("Run %d is reproduced: %s has the same bytes, SHA-256 %s.", run_id, kept, found)
    return kept
