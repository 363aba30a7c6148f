"""Dated rows beyond memory are the rows in memory: dataset, test, today's clients and history."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.core.config import (
    LATEST_ROWS,
    Config,
    DateColumn,
    LeavingColumn,
    OutcomeSettings,
    Schema,
)
from scripts.core.errors import DatasetError, InsufficientDataError
from scripts.data import client_dates, name_dates
from scripts.engine import dated_in_parts, dated_ingest
from scripts.engine.dated_ingest import DatedIntake

SCHEMA = Schema(
    target="left", ids=("id",), numeric=("logins", "seats"), categorical=("plan",),
    date=DateColumn(column="snapshot", format="%d.%m.%Y"), dates={"signup": "%Y-%m-%d"},
    changes=("logins",), ratios={"usage": ("logins", "seats")},
)  # fmt: skip
HEADER = "note;snapshot;signup;id;logins;seats;plan;left;churned;status"
TODAY = client_dates.iso_day("2024-12-01")
DAYS = ("31.01.2024", "29.02.2024", "31.03.2024", "30.04.2024")
# From a part for almost each client to few parts.
BOUNDS = (1, 20_000, 10**9)


def draw(random: np.random.Generator, *texts: str, odd: float = 0.05) -> str:
    """Return the first text, or now and then one of the others."""
    return str(random.choice(texts[1:])) if random.random() < odd else texts[0]


def write_extracts(folder: Path, seed: int, *, n_clients: int = 60, labels: str = "10") -> None:
    """Write a file per day: odd cells, repeated rows, new clients, and a few rows of other days."""
    random, others = np.random.default_rng(seed), np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for number, day in enumerate(DAYS):
        rows = []
        for client in random.permutation(n_clients + 10 * number)[: n_clients + 5]:
            label = "" if day == DAYS[-1] or not labels else random.choice([*labels], p=[0.3, 0.7])
            for _ in range(1 + (random.random() < 0.1)):
                name = draw(random, f"ç{client}", f" ç{client} ", "", "Ö'1", f'"ç{client}"')
                rows.append(
                    ";".join(
                        [
                            "a note, and more", draw(random, day, "15.03.2024", "", "2024-01-31"),
                            draw(random, f"20{random.integers(10, 24)}-05-17", "", "1999-02-30"),
                            name, draw(random, str(random.integers(0, 99)), "", "2.5", "x"),
                            draw(random, str(random.integers(0, 9)), "", "1e3"),
                            draw(random, "pro", " basic", '"a;b"', ""),
                            draw(random, str(label), "", "maybe", odd=0.02),
                            *leave(others, int(client), number),
                        ]
                    )
                )  # fmt: skip
        (folder / f"{9 - number}.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (folder / "5.csv").write_text("other;columns\n1;2\n")


def leave(random: np.random.Generator, client: int, number: int) -> tuple[str, str]:
    """Return the cells about leaving: mostly blank before a day of the client, and then the day."""
    day = date(2024, 1, 25) + timedelta(days=client * 7 % 400)
    is_known = day <= date(2024, 2 + number, 20)
    shown = f"{day:%d.%m.%Y}" if is_known else ""
    status = " GONE " if is_known else "active"
    return draw(random, shown, "", "01.02.2024", "soon"), draw(
        random, status, "", "gone", "a;b"[:1]
    )


def write_outcomes(folder: Path, seed: int, *, label: bool = False) -> None:
    """Write two files of outcomes, and one that belongs to no row."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(2):
        rows = [
            f"ç{random.integers(0, 70)},2024-0{random.integers(2, 6)}-{random.integers(1, 29):02}"
            + (f",{random.integers(0, 2)}" if label else "")
            for _ in range(40)
        ]
        head = "id,on" + (",gone" if label else "")
        (folder / f"{number}.csv").write_text("\n".join([head, *rows]) + "\n")
    (folder / "strangers.csv").write_text(f"{head}\nnobody,2024-03-01{',1' if label else ''}\n")


@dataclass(frozen=True)
class Case:
    """An installation: its schema, whether outcomes are in files, and where the test rows are."""

    schema: Schema = SCHEMA
    labels: str = "10"
    outcomes: str = ""
    has_test_folder: bool = False
    horizon_days: int = 30

    def install(self, folder: Path, seed: int) -> Config:
        """Write the files, and return the config."""
        write_extracts(folder / "input", seed, labels=self.labels)
        settings = None
        if self.outcomes == "rows":
            settings = OutcomeSettings(horizon_days=self.horizon_days)
        elif self.outcomes:
            write_outcomes(folder / "outcomes", seed, label=self.outcomes == "labels")
            settings = OutcomeSettings(
                input_folder_path=folder / "outcomes", date="on", horizon_days=self.horizon_days,
                label="gone" if self.outcomes == "labels" else "",
            )  # fmt: skip
        if self.has_test_folder:
            (folder / "test").mkdir()
            (folder / "input" / "8.csv").rename(folder / "test" / "8.csv")
        return Config(
            input_folder_path=folder / "input", output_folder_path=folder / "out",
            output_model_path=folder / "models", prod_deployment_path=folder / "prod",
            test_data_path=folder / "test" if self.has_test_folder else LATEST_ROWS,
            schema=self.schema, outcomes=settings,
        )  # fmt: skip


CASES = {
    "labels in the rows": Case(),
    "files of outcomes": Case(labels="", outcomes="days"),
    "labels and files": Case(outcomes="days"),
    "files with labels": Case(labels="", outcomes="labels", horizon_days=20),
    "a folder of test data": Case(has_test_folder=True),
    "a split by clients": Case(labels="", outcomes="days", horizon_days=60),
    "a day of leaving": Case(
        msgspec.structs.replace(SCHEMA, leaving=LeavingColumn(column="churned", format="%d.%m.%Y")),
        labels="",
        outcomes="rows",
    ),
    "a status": Case(
        msgspec.structs.replace(SCHEMA, leaving=LeavingColumn(column="status", labels=("Gone",))),
        labels="",
        outcomes="rows",
    ),
    "a day of leaving, labels and a folder of tests": Case(
        msgspec.structs.replace(SCHEMA, leaving=LeavingColumn(column="churned", format="%d.%m.%Y")),
        outcomes="rows",
        has_test_folder=True,
    ),
    "files and a status": Case(
        msgspec.structs.replace(SCHEMA, leaving=LeavingColumn(column="status", labels=("Gone",))),
        labels="",
        outcomes="days",
    ),
    "only changes": Case(msgspec.structs.replace(SCHEMA, numeric=("logins",), ratios={}, dates=())),
}


def ingest(
    config: Config, bound_bytes: int | None, clean: Callable[[pd.DataFrame], pd.DataFrame] | None
) -> DatedIntake:
    """Ingest in memory, or in parts of a bound."""
    paths = sorted(config.input_folder_path.iterdir())
    if bound_bytes is None:
        return dated_ingest.ingest_files(paths, config.schema, config, clean, TODAY)
    return dated_in_parts.ingest_files(paths, config.schema, config, clean, TODAY, bound_bytes)


def describe(intake: DatedIntake, folder: Path) -> dict[str, Any]:
    """Return everything that an intake says, with the files it writes."""
    folder.mkdir(exist_ok=True)
    written = intake.write(folder, "20240101T000000000000Z")
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    readings = (*intake.readings, *intake.test_readings, *intake.outcome_readings)
    return {
        "rows": written[1], "files": contents, "labelled": intake.n_labelled,
        "account": intake.account, "notices": intake.notices, "dropped": intake.dropped,
        "gone": (intake.n_gone, intake.n_returned),
        "readings": [(r.path.name, r.n_rows, r.sha256, r.refused, r.rejected) for r in readings],
    }  # fmt: skip


def sorted_history(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    return sorted(table[["client", "day", "label"]].itertuples(index=False, name=None))


def check_equal(mine: DatedIntake, others: DatedIntake, folder: Path) -> None:
    """Check that both have written and say the same."""
    assert describe(mine, folder / "mine") == describe(others, folder / "others")
    pd.testing.assert_frame_equal(mine.clients, others.clients, check_dtype=False)
    for day in (*DAYS, "20.03.2024"):
        place = name_dates.find_day(day, "%d.%m.%Y")
        assert place is not None
        for find in ("find_period", "find_labelled"):
            found = [
                getattr(intake.history, find)(place if find == "find_period" else [place])
                for intake in (mine, others)
            ]
            assert sorted_history(found[0]) == sorted_history(found[1])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bound_bytes", BOUNDS)
def test_rows_beyond_memory_are_the_rows_in_memory(
    tmp_path: Path, name: str, bound_bytes: int
) -> None:
    config = CASES[name].install(tmp_path, seed=BOUNDS.index(bound_bytes))

    mine, others = (ingest(config, bound, None) for bound in (bound_bytes, None))

    assert others.account.n_training
    assert others.account.n_test
    assert len(others.clients)
    assert any(reading.rejected for reading in others.readings)
    assert bool(others.n_gone) == (config.outcomes is not None)
    check_equal(mine, others, tmp_path)


@pytest.mark.parametrize("bound_bytes", BOUNDS)
def test_cleaning_leaves_out_the_same_rows_beyond_memory(tmp_path: Path, bound_bytes: int) -> None:
    config = CASES["files of outcomes"].install(tmp_path, seed=3)

    def clean(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["seats"].fillna(0) > 2]

    mine, others = (ingest(config, bound, clean) for bound in (bound_bytes, None))

    assert others.dropped.n_rows
    check_equal(mine, others, tmp_path)


def test_the_day_may_be_in_the_names_of_the_files_beyond_memory(tmp_path: Path) -> None:
    schema = msgspec.structs.replace(SCHEMA, date="file_name")
    config = Case(schema).install(tmp_path, seed=5)
    for number, day in zip("9876", ("01-31", "02-29", "03-31", "04-30"), strict=True):
        path = tmp_path / "input" / f"{number}.csv"
        path.rename(path.with_name(f"{number} 2024-{day}.csv"))

    check_equal(ingest(config, 1, None), ingest(config, None, None), tmp_path)


def test_without_a_mature_row_both_say_the_same(tmp_path: Path) -> None:
    config = Case(labels="", outcomes="days", horizon_days=900).install(tmp_path, seed=1)

    messages = []
    for bound in (1, None):
        with pytest.raises(InsufficientDataError) as found:
            ingest(config, bound, None)
        messages.append(str(found.value))

    assert messages[0] == messages[1]


def test_without_a_usable_row_both_say_the_same(tmp_path: Path) -> None:
    config = Case().install(tmp_path, seed=1)
    for path in (tmp_path / "input").iterdir():
        path.write_text("other;columns\n1;2\n")

    messages = []
    for bound in (1, None):
        with pytest.raises(DatasetError) as found:
            ingest(config, bound, None)
        messages.append(str(found.value))

    assert messages[0] == messages[1]


def test_the_hidden_folder_goes_with_the_last_object_that_needs_it(tmp_path: Path) -> None:
    config = CASES["labels in the rows"].install(tmp_path, seed=1)
    intake = ingest(config, 1, None)
    intake.write(tmp_path / "out", "20240101T000000000000Z")
    assert [path.suffix for path in (tmp_path / "out").glob(".*")] == [".tmp"]
    assert len(intake.history.find_period(TODAY))

    del intake
    gc.collect()

    assert not [*(tmp_path / "out").glob(".*")]
