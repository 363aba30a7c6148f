"""Clients of a hand-made model with known probabilities, scored and recorded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy.engine import Connection

from scripts import ingestion
from scripts.clients import score_clients
from scripts.core.config import Config
from scripts.model.logistic_model import Model
from scripts.production.run_context import RunContext
from scripts.records import database, runs
from tests.conftest import write_csv
from tests.support.service import make_model, switch, write_release

Found = TypeVar("Found")

FIRST, SECOND = "0001_20250101T000000000000Z", "0002_20250102T000000000000Z"
TYPICAL: dict[str, float | str] = {
    "lastmonth_activity": 3.0, "lastyear_activity": 7.0, "number_of_employees": 3.0,
}  # fmt: skip
# The odds of x are 3, of y 1, of z a third; of b two of three features are blank.
CLIENTS = ["z,2,7,3,", "x,0,7,3,", "b,,,3,", "y,1,7,3,"]


def with_typical(made: Model) -> Model:
    """Add the typical client to a hand-made model."""
    return msgspec.structs.replace(
        made, dataset=msgspec.structs.replace(made.dataset, typical=TYPICAL)
    )


def serve(config: Config, name: str, **options: Any) -> None:
    """Deploy a hand-made model."""
    write_release(config.prod_deployment_path, name, with_typical(make_model(**options)))
    switch(config.prod_deployment_path, name)


def put_clients(config: Config, rows: list[str], name: str = "today.csv") -> None:
    """Write a file into the input folder."""
    write_csv(config.input_folder_path / name, rows)


def score(config: Config) -> int:
    """Ingest and score today's clients as a run does, and return the run's id."""
    made = ingestion.main(config)
    with database.open_records(config.database_url) as engine:
        with database.writing(engine) as connection:
            run_id = runs.start_run(connection, datetime.now(UTC))
        context = RunContext(config)
        context.input_paths = ingestion.find_input(config)
        score_clients.main(config, engine, run_id, made.clients, made.dataset_path, context=context)
    return run_id


@contextmanager
def asking(config: Config) -> Iterator[Connection]:
    """Open the records for a query."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        yield connection


def ask(config: Config, question: Callable[..., Found], *given: Any, **named: Any) -> Found:
    """Return the result of a query to the records."""
    with asking(config) as connection:
        return question(connection, *given, **named)


def score_twice(config: Config) -> None:
    """Score four clients twice: x moves, y stays, z leaves, and the second model is new."""
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    serve(config, SECOND, intercept=0.0)
    put_clients(config, ["x,2,7,3,", "y,1,7,3,0", "z,2,7,3,1"], "today2.csv")
    score(config)
