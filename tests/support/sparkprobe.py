"""Runs the full process, then tries clean_more, moves and inferences on a cluster, as a program.

python -m tests.support.sparkprobe WHAT CONFIG
"""

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import narwhals as nw
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from scripts import fullprocess, ingestion
from scripts.core import artifacts, console, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.config_file import fill_schema, read_config
from scripts.core.errors import ConfigError
from scripts.core.files import RemotePath
from scripts.data import schema_inference as data_schema_inference
from scripts.spark import (
    cluster,
    dataset,
    object_store,
    read_input,
    scan,
    schema_inference,
)
from scripts.spark.cluster import column
from tests.support import sparkdated, sparkruns


def with_narwhals(table: Any) -> Any:
    """Clean a table of either engine."""
    frame = nw.from_native(table)
    return frame.filter(nw.col("lastyear_activity") >= 1000).to_native()


def with_a_mask(table: Any) -> Any:
    """Clean with a pandas mask."""
    return table[table["lastyear_activity"] >= 1000]


def with_assign(table: Any) -> Any:
    """Clean with a method of pandas only."""
    return table.assign(lastyear_activity=0)


def with_a_column_less(table: Any) -> Any:
    """Remove a column of the schema."""
    return nw.from_native(table).drop("plan").to_native()


def with_nothing(table: Any) -> Any:
    """Forget to return the table."""


def try_to_clean(rows: DataFrame, clean: Callable[[Any], Any], schema: Schema) -> Any:
    """Clean rows and return their number, or the refusal."""
    try:
        return read_input.clean(rows, clean, schema, drop_equal=True).count()
    except ConfigError as error:
        return str(error)


def find_dataset(config: Config) -> Path:
    """Find the latest dataset."""
    return artifacts.find_latest(config.output_folder_path, Kind.PARTS, "ingestion")


def move(config: Config, session: SparkSession) -> dict[str, Any]:
    """Write the latest dataset to a new address, then remove the original."""
    folder, path = config.output_folder_path, find_dataset(config)
    rows = dataset.read_parts(session, path, config.schema)
    lake = folder.parent.parent / "other-lake"
    engine = msgspec.structs.replace(
        config.engine, dataset_format="parquet", dataset_address=f"file://{lake}"
    )
    copy = Kind.PARTS.path(folder, "20250101T000000000000Z")
    identity = dataset.write_dataset(rows, copy, config.schema, engine)
    n_parts = len(list((lake / copy.stem).glob("part-*.parquet")))
    files.remove(copy)
    dataset.delete_forgotten(session, folder)
    found = {"n_parts": n_parts, "is_left": (lake / copy.stem).exists()}
    return {"address": identity.address, "sha256": identity.sha256, **found}


def infer_both_ways(config: Config) -> list[Any]:
    """Return the schema of odd files by the cluster, from a store, and by pandas."""
    section = {"target": "left", "positive": "gone", "ids": ["key"]}
    declared = msgspec.convert(fill_schema(section), Schema)
    paths = files.list_tables(config.output_folder_path.with_name("odd"))
    store = str(config.input_folder_path).removesuffix("input")
    found = [
        schema_inference.infer(config.engine, paths, declared),
        schema_inference.infer(
            config.engine, [*object_store.scan_folder(RemotePath(f"{store}odd"))], declared
        ),
        data_schema_inference.infer(paths, declared),
    ]
    return [msgspec.to_builtins(one) for one in found]


def ingest_dated(config: Config) -> dict[str, Any]:
    """Ingest the files of the dated installations."""
    found = {}
    for name in sparkruns.DATED:
        place = config.output_folder_path.with_name(name) / "config.json"
        dated = read_config(place)
        ingested = ingestion.main(dated)
        found[name] = sparkdated.describe(ingested, dated)
        found[name]["dataset"] = str(ingested.dataset_path)
    return found


def run_without_outcomes(config: Config) -> dict[str, Any]:
    """Run on months without a mature outcome, while a model serves, and return the records."""
    place = config.output_model_path.with_name(sparkruns.IMMATURE)
    engine = {"name": config.engine.name, "master": config.engine.master}
    immature = sparkdated.add_immature_month(place, engine)
    return {"said": run_process(immature), **sparkdated.describe_run(immature)}


def run_backtest(config: Config) -> str:
    """Run the backtest of dated files, and return the printed tables."""
    place = config.output_model_path.with_name(sparkruns.IN_FOLDER) / "config.json"
    with patch.object(cluster, "close_session"):
        return sparkdated.print_backtest(read_config(place))


def draw_in_ways(config: Config, rows: DataFrame) -> dict[str, Any]:
    """Draw rows of a dataset, of the same rows in other parts, and of each row twice."""
    n_rows = rows.count()

    def draw(offered: DataFrame, n_offered: int, *, by_place: bool = False) -> pd.DataFrame:
        keyed = scan.add_keys(offered, config, None, by_place=by_place)
        return scan.draw(keyed, n_offered, 1000)

    drawn, again = draw(rows, n_rows), draw(rows.repartition(7), n_rows)
    twice = draw(rows.union(rows), 2 * n_rows, by_place=True)
    return {
        "rows": drawn.to_json(orient="values"),
        "in_other_parts": again.to_json(orient="values"),
        "doubled": [len(twice), len(twice.drop_duplicates())],
    }


def clean_in_ways(config: Config, session: SparkSession) -> dict[str, Any]:
    """Clean two copies of the latest dataset in several ways, and return rows or refusals."""
    plain = dataset.read_parts(session, find_dataset(config), config.schema)
    doubled = plain.union(plain)
    return {
        "moved": move(config, session),
        "inferred": infer_both_ways(config),
        "drawn": draw_in_ways(config, plain),
        "dated": ingest_dated(config),
        "immature": run_without_outcomes(config),
        "backtest": run_backtest(config),
        "n_rows": plain.count(),
        "n_active": plain.where(column("lastyear_activity") >= 1000).count(),
        "cleaned": {
            clean.__name__: try_to_clean(doubled, clean, config.schema)
            for clean in (with_narwhals, with_a_mask, with_assign, with_a_column_less, with_nothing)
        },
    }


QUESTIONS = {"cleaning": clean_in_ways}


def run_process(config: Config) -> str:
    """Run the full process, keep its session for the questions, and return its log."""
    with redirect_stderr(StringIO()) as said, patch.object(cluster, "close_session"):
        console.set_up_logging()
        fullprocess.main(config)
    console.set_up_logging()
    return said.getvalue()


def main(what: str, config: Config) -> None:
    """Run the full process, and print its log and what was found afterwards as JSON."""
    said = run_process(config)
    with cluster.open_cluster(config.engine) as session:
        print(json.dumps({"said": said, **QUESTIONS[what](config, session)}))


if __name__ == "__main__":
    main(sys.argv[1], read_config(Path(sys.argv[2])))
