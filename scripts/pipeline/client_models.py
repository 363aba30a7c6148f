"""Models and releases without the traces of an erased client."""

import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct
from pyarrow import parquet
from sqlalchemy.engine import Engine

from scripts.clients import score_clients
from scripts.core import artifacts, erased_clients, files, keys
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.errors import ModelError, ReleaseError
from scripts.data import client_lines, csv_reader, csv_writer, dataset, table_reader
from scripts.data.client_lines import FoundLines
from scripts.model import additive_pipeline, forgetting, logistic_model
from scripts.model.forgetting import OwnTraces
from scripts.model.logistic_model import Model
from scripts.production import kept_models, release, withdrawals
from scripts.records import database, erasing

NO_TRACES = OwnTraces(np.zeros(0, np.uint32))

log = logging.getLogger(__name__)


class DatasetRows(Struct, frozen=True):
    """The rows of a client in a dataset, with the hash of the dataset before and afterwards."""

    path: Path
    schema: Schema
    own: pd.DataFrame
    before: str
    after: str


def list_features(config: Config) -> set[tuple[str, ...]]:
    """Return the features of each release, in the order of the logged predictions."""
    found = set()
    for folder in artifacts.list_releases(config.prod_deployment_path):
        # A damaged release is named once it is to be rewritten.
        with suppress(ModelError):
            found.add(logistic_model.load_model(folder / release.MODEL).schema.features)
    return found


def is_here(path: Path) -> bool:
    """Return whether the parts of a cluster's dataset lie in the folder, as Parquet."""
    return any(path.glob("*.parquet"))


def iterate_parts(path: Path, schema: Schema) -> Iterator[pd.DataFrame]:
    """Yield the rows of a dataset of a cluster, a table of each part."""
    for part in sorted(path.glob("*.parquet")):
        rows = parquet.read_table(part).to_pandas().reset_index(drop=True)
        yield dataset.make_table({name: rows[name] for name in schema.columns}, schema)


def read_parts(config: Config, name: str) -> list[DatasetRows]:
    """Return the rows of a client in the datasets of a cluster on this machine."""
    folder, found = config.output_folder_path, []
    for path in filter(is_here, artifacts.list_exact(folder, Kind.PARTS)):
        place = Kind.SCHEMA.path(folder, artifacts.stamp_of(path))
        schema = dataset.read_schema(place, config.schema)
        parts = [
            part[dataset.client_names(part, schema) == name] for part in iterate_parts(path, schema)
        ]
        own, identity = pd.concat(parts), artifacts.read_identity(path)
        if len(own):
            found.append(DatasetRows(path, schema, own, identity, identity))
    return found


def read_own(found: FoundLines, schema: Schema) -> pd.DataFrame:
    """Read the rows of a client in a dataset."""
    wanted = csv_writer.ingested_schema(schema)
    content = client_lines.read_only(found.path, found.spans)
    reading = csv_reader.new_reading(found.path, wanted)
    columns: dict[str, list[object]] = {name: [] for name in wanted.columns}
    with erased_clients.refused(None):
        for row, errors in table_reader.read_content(content, wanted, reading):
            for name in wanted.columns if not errors else ():
                columns[name].append(row[name])
    return dataset.make_table(columns, wanted)


def read_rows(config: Config, found: FoundLines, hashes: Mapping[str, str]) -> DatasetRows | None:
    """Return the rows of a client in a file, None if the file is no dataset."""
    folder, stamp = config.output_folder_path, artifacts.stamp_of(found.path)
    if found.path != Kind.DATASET.path(folder, stamp):
        return None
    schema = dataset.read_schema(Kind.SCHEMA.path(folder, stamp), config.schema)
    before = files.digest_file(found.path)
    return DatasetRows(found.path, schema, read_own(found, schema), before, hashes[before])


def iterate_others(rows: DatasetRows, name: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of all clients of a dataset but one, in parts."""
    is_in_parts = rows.path.is_dir()
    read = iterate_parts if is_in_parts else dataset.iterate_dataset
    for part in read(rows.path, rows.schema):
        yield part[dataset.client_names(part, rows.schema) != name]


def find_traces(rows: DatasetRows, name: str, schema: Schema) -> OwnTraces:
    """Return the values of a dataset that only one client has."""
    # The list of erased clients has the client already, and a dataset is read as it was written.
    with erased_clients.refused(None):
        return forgetting.find_traces(rows.own, iterate_others(rows, name), schema)


class Forgotten(Struct, frozen=True):
    """A model without the traces of a client, with the traces and the rows they are of."""

    model: Model
    traces: OwnTraces
    own: DatasetRows | None


class ClientModels(Struct, frozen=True):
    """The models of an installation, from which the traces of a client are removed.

    `datasets` still have rows of the client. `known` are the hashes of all datasets on disk, before
    and afterwards: the rows of others are not known.
    """

    config: Config
    name: str
    datasets: tuple[DatasetRows, ...]
    known: frozenset[str]

    def forget(self, model: Model) -> Forgotten:
        """Return a sealed model without the traces of the client."""
        key = keys.make_key(self.config.prod_deployment_path)
        opened = logistic_model.unseal(model, key)
        if opened.dataset.reference is not None and opened.dataset.reference.is_sealed:
            # By another key, which nobody has any more.
            opened = forgetting.without_hashes(opened)
        own = next((d for d in self.datasets if model.dataset.sha256 in (d.before, d.after)), None)
        traces = NO_TRACES
        if own is not None:
            traces = find_traces(own, self.name, model.schema)
            opened = forgetting.forget(opened, traces)
            facts = msgspec.structs.replace(opened.dataset, sha256=own.after)
            opened = msgspec.structs.replace(opened, dataset=facts)
        elif model.dataset.sha256 not in self.known:
            opened = forgetting.without_hashes(opened)
        reference = opened.dataset.reference
        has_hashes = reference is not None and bool(reference.row_hashes)
        sealed = logistic_model.seal(opened, key) if has_hashes else opened
        return Forgotten(sealed, traces, own)

    def make_pickle(self, content: bytes, before: Model, after: Forgotten) -> bytes:
        """Return the pickle of a model without the traces of the client.

        One with curves is made anew of the plain numbers. In another one the categories are
        overwritten, and it has no number of a single row.
        """
        if after.own is None or forgetting.is_same_formula(before, after.model):
            return content
        if not forgetting.has_curves(before):
            return forgetting.forget_texts(content, after.traces)
        with erased_clients.refused(None):
            others = next(part for part in iterate_others(after.own, self.name) if len(part))
        X = dataset.features(others, before.schema)
        return pickle.dumps(additive_pipeline.make_pipeline(after.model, X))

    def rewrite_pair(self, model_path: Path, pickle_path: Path | None) -> bool:
        """Rewrite a model and its pickle, and return whether the model changed."""
        encoded = model_path.read_bytes()
        before = logistic_model.decode_model(encoded, model_path)
        after = self.forget(before)
        if pickle_path is not None and pickle_path.exists():
            content = pickle_path.read_bytes()
            made = self.make_pickle(content, before, after)
            if made != content:
                # First the pickle: of a model that is written already it is not made again.
                files.write_whole(pickle_path, made)
        forgotten = logistic_model.encode_model(after.model)
        if forgotten == encoded:
            return False
        files.write_whole(model_path, forgotten)
        return True

    def rewrite_release(self, folder: Path) -> bool:
        """Rewrite the model and the pickle of a release, which is whole at every instant."""
        before = logistic_model.load_model(folder / release.MODEL)
        after = self.forget(before)
        pickled = (folder / release.PICKLE).read_bytes()
        contents = {
            release.PICKLE: self.make_pickle(pickled, before, after),
            release.MODEL: logistic_model.encode_model(after.model),
        }
        return release.rewrite(folder, contents, after.model.dataset.sha256)

    def list_models(self) -> Iterator[Model]:
        """Yield the readable models on disk."""
        prod_folder = self.config.prod_deployment_path
        paths = artifacts.list_exact(self.config.output_model_path, Kind.MODEL)
        for name in (artifacts.RELEASES, artifacts.PENDING):
            folders = artifacts.list_releases(prod_folder, name)
            paths += [folder / release.MODEL for folder in folders]
        for path in paths:
            # A damaged model is named once it is to be rewritten.
            with suppress(ModelError):
                yield logistic_model.load_model(path)

    def rewrite_withdrawn(self) -> None:
        """Let withdrawn models be known again by the new hashes of their datasets."""
        after = {rows.before: rows.after for rows in self.datasets}
        origins = {}
        for model in self.list_models():
            facts = msgspec.structs.replace(
                model.dataset, sha256=after.get(model.dataset.sha256, model.dataset.sha256)
            )
            later = msgspec.structs.replace(model, dataset=facts)
            origins[withdrawals.origin_of(model)] = withdrawals.origin_of(later)
        known = withdrawals.read_withdrawals(self.config.prod_deployment_path)
        moved = tuple(
            msgspec.structs.replace(each, origin=origins.get(each.origin or "", each.origin))
            for each in known
        )
        if moved != known:
            withdrawals.write_withdrawals(self.config.prod_deployment_path, moved)

    def rewrite_all(self) -> tuple[int, list[str]]:
        """Rewrite all models and releases, and return their number and the damaged files."""
        config, n_changed, damaged = self.config, 0, []
        # First, as the hashes of the datasets before are not known once the models are written.
        self.rewrite_withdrawn()
        for path in artifacts.list_exact(config.output_model_path, Kind.MODEL):
            pickled = Kind.PICKLE.path(config.output_model_path, artifacts.stamp_of(path))
            n_changed += self.rewrite_pair(path, pickled)
        reproduced = config.output_model_path / kept_models.REPRODUCED
        for path in sorted(reproduced.glob("run_*/model.json")):
            n_changed += self.rewrite_pair(path, None)
        for name in (artifacts.RELEASES, artifacts.PENDING):
            for folder in artifacts.list_releases(config.prod_deployment_path, name):
                try:
                    n_changed += self.rewrite_release(folder)
                except (ModelError, ReleaseError, OSError) as error:
                    log.warning("A release is damaged, and stays as it is: %s", error)
                    damaged.append(f"{folder}: it is damaged and could not be changed")
        return n_changed, damaged

    def find_stamped(self, stamp: str) -> Model | None:
        """Return the model of a stamp on disk, None if only the records have the model."""
        config = self.config
        releases = artifacts.list_releases(config.prod_deployment_path)
        places = [Kind.MODEL.path(config.output_model_path, stamp)]
        # A damaged release is not looked into further: the model may lie in its own folder.
        with suppress(ReleaseError):
            places += [
                folder / release.MODEL
                for folder in releases
                if release.read_manifest(folder).model_stamp == stamp
            ]
        found = next((path for path in places if path.exists()), None)
        return None if found is None else logistic_model.load_model(found)

    def forget_scored(self, stamp: str, model: Model) -> str:
        """Return the content of the model of a scoring without the traces of the client.

        Restored records may have the model of a dataset that is written without the client
        already. The model on disk is without the client, too.
        """
        if model.dataset.sha256 not in self.known:
            on_disk = self.find_stamped(stamp)
            if on_disk is not None:
                return score_clients.encode_without_reference(on_disk)
        return logistic_model.encode_model(self.forget(model).model).decode()

    def rewrite_scored(self, engine: Engine) -> int:
        """Rewrite the models of the scorings in the records, and return their number."""
        n_changed = 0
        with database.writing(engine) as connection:
            for stamp, content in erasing.iterate_contents(connection):
                model = logistic_model.decode_model(content.encode(), Path(f"the model {stamp}"))
                encoded = self.forget_scored(stamp, model)
                if encoded != content:
                    erasing.replace_content(connection, stamp, encoded)
                    n_changed += 1
        return n_changed
