"""Schema inference: numeric, categorical and unused columns, and the pinned schema."""

import json
import logging
from pathlib import Path

import msgspec
import pytest

from scripts import ingestion, scoring, training
from scripts.core import config_file
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.errors import ConfigError, DatasetError
from scripts.data import dataset, schema_inference
from scripts.data.schema_inference import Inference

OPEN = Schema(
    target="left", ids=("name",), numeric=(), categorical=(), inferred=("numeric", "categorical")
)


def write(folder: Path, columns: dict[str, list[str]], name: str = "a.csv") -> Path:
    """Write columns as a table."""
    rows = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def infer(folder: Path, schema: Schema = OPEN, **columns: list[str]) -> Inference:
    """Infer the schema of a table that also has names and labels."""
    n_rows = len(next(iter(columns.values())))
    usual = {
        "name": [f"n{i}" for i in range(n_rows)],
        "left": [str(i % 2) for i in range(n_rows)],
    }
    return schema_inference.infer([write(folder, usual | columns)], schema)


def kind_of(folder: Path, cells: list[str], schema: Schema = OPEN) -> str:
    """Return the inferred kind of a column beside a numeric column."""
    inference = infer(folder, schema, other=[str(i % 9) for i in range(len(cells))], c=cells)
    return next(
        (kind for kind in ("numeric", "categorical") if "c" in getattr(inference.schema, kind)),
        inference.set_aside.get("c", "nothing"),
    )


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([str(i % 7) for i in range(200)], "numeric"),
        (["", " ", "\t", "\u2003"] * 20 + [str(i % 7) for i in range(200)], "numeric"),
        # 99 % and a little less.
        (["x"] * 2 + [str(i % 7) for i in range(198)], "numeric"),
        (["x"] * 3 + [str(i % 7) for i in range(197)], "categorical"),
        (["yes", "no"] * 100, "categorical"),
        (["yes", ""] * 100, "categorical"),
        (["0", "1"] * 100, "numeric"),
        (["same"] * 200, "it has one value"),
        (["7"] * 200, "it has one value"),
        (["", " "] * 100, "it is blank in every row"),
        ([str(1000 + i) for i in range(200)], "it has as many values as rows"),
        ([f"id-{i}" for i in range(200)], "it has as many values as rows"),
        # Fractions: a measure may well differ everywhere.
        ([str(i + 0.25) for i in range(200)], "numeric"),
        ([f"name {i % 790}" for i in range(800)], "each of its values is in fewer than 0.5% of"),
        (["1,234"] * 100 + ["5"] * 100, "categorical"),
    ],
)  # fmt: skip
def test_a_column_is_what_its_cells_say(tmp_path: Path, cells: list[str], expected: str) -> None:
    cells = [f'"{cell}"' if "," in cell else cell for cell in cells]

    assert kind_of(tmp_path, cells).startswith(expected)


@pytest.mark.parametrize(
    ("declared", "cells"),
    [
        ({"thousands": ","}, ['"1,234"', "5"] * 50),
        ({"percent": ("c",)}, ["5%", "7.5 %"] * 50),
        ({"decimal": ","}, ['"1,5"', '"2,5"'] * 50),
    ],
)
def test_marks_count_as_numbers_when_declared(
    tmp_path: Path, declared: dict[str, object], cells: list[str]
) -> None:
    schema = msgspec.structs.replace(OPEN, **declared)

    assert kind_of(tmp_path, cells, schema) == "numeric"
    if "percent" not in declared:
        assert kind_of(tmp_path, cells) == "categorical"


def test_ids_and_ignored_columns_are_left_alone_and_declared_lists_are_kept(tmp_path: Path) -> None:
    schema = msgspec.structs.replace(
        OPEN, categorical=("zip",), ignore=("note",), inferred=("numeric",)
    )
    n = [str(i % 7) for i in range(50)]

    inference = infer(tmp_path, schema, zip=n, note=n, age=n, plan=["a", "b"] * 25)

    assert inference.schema.categorical == ("zip",)
    assert inference.schema.numeric == ("age",)
    assert inference.set_aside == {
        "plan": "it is categorical, and schema.categorical does not list it"
    }


def test_repeated_rows_do_not_hide_an_identifier(tmp_path: Path) -> None:
    columns = {"name": ["a", "b", "c"], "left": ["0", "1", "0"], "n": ["1", "1", "2"]}
    columns["key"] = ["7", "8", "9"]
    paths = [write(tmp_path, columns, "a.csv"), write(tmp_path, columns, "b.csv")]

    inference = schema_inference.infer(paths, OPEN)

    assert inference.set_aside == {"key": "it has as many values as rows"}


def test_notes_by_name_are_set_aside_unless_they_are_a_few_kinds(tmp_path: Path) -> None:
    # Half of the texts are canned, so that no share of different texts gives them away.
    notes = ["wants a break" if i % 2 else f"knee {i % 40}" for i in range(200)]
    kinds = [f"kind {i % 9}" for i in range(200)]

    inference = infer(tmp_path, Bemerkung=notes, comment_type=kinds, plan=notes, other=kinds)

    assert inference.schema.categorical == ("comment_type", "plan", "other")
    assert inference.set_aside["Bemerkung"].endswith(
        "named as a column of notes, and has 21 different texts"
    )


def test_a_column_that_few_files_have_is_set_aside(tmp_path: Path) -> None:
    usual = {"name": ["a", "b"], "left": ["0", "1"], "n": ["1", "1.5"], "m": ["3.5", "4"]}
    paths = [write(tmp_path, usual, f"{i}.csv") for i in range(3)]
    paths.append(write(tmp_path, usual | {"new": ["1.5", "2"]}, "3.csv"))
    paths.append(write(tmp_path, {k: v for k, v in usual.items() if k != "m"}, "4.csv"))

    inference = schema_inference.infer(paths, OPEN)

    assert inference.schema.numeric == ("n", "m")
    assert inference.set_aside == {"new": "only files with fewer than half of the rows have it"}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["Left", "Stayed"], "stayed"), ([" LEFT", "left", "here"], "here")],
)
def test_the_other_label_is_found(tmp_path: Path, labels: list[str], expected: str) -> None:
    schema = msgspec.structs.replace(OPEN, positive="left", inferred=(*OPEN.inferred, "negative"))
    n = [str(i % 7) for i in range(30)]

    inference = infer(tmp_path, schema, n=n, left=[labels[i % len(labels)] for i in range(30)])

    assert inference.schema.negative == expected
    assert inference.schema.labels == {"left": 1, expected: 0}


@pytest.mark.parametrize("labels", [["left"], ["left", "a", "b"], ["a", "b"]])
def test_a_target_without_two_labels_is_refused(tmp_path: Path, labels: list[str]) -> None:
    schema = msgspec.structs.replace(OPEN, positive="left", inferred=(*OPEN.inferred, "negative"))
    n = [str(i % 7) for i in range(30)]

    with pytest.raises(DatasetError, match=r"Set schema\.positive, and schema\.negative"):
        infer(tmp_path, schema, n=n, left=[labels[i % len(labels)] for i in range(30)])


def test_a_table_of_constants_leaves_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No column is left to train on.*it has one value"):
        infer(tmp_path, c=["1"] * 9)


def test_a_folder_without_usable_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a;b\n1;2\n")

    with pytest.raises(DatasetError, match=r"No usable row was found\. .*lacks the columns"):
        schema_inference.infer([path], OPEN)


def test_an_ambiguous_header_is_refused_with_the_choice_to_declare(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name,left,a;b\nx,1,2\ny,0,3\nz,1,3\n")

    with pytest.raises(DatasetError, match=r"by ',' or ';'; declare schema\.separator"):
        schema_inference.infer([path], OPEN)

    declared = msgspec.structs.replace(OPEN, separator=",")
    assert schema_inference.infer([path], declared).schema.numeric == ("a;b",)


def test_practice_columns_are_inferred_as_they_are_declared() -> None:
    root = Path(__file__).parents[2]
    schema = msgspec.structs.replace(Schema(), numeric=(), inferred=("numeric", "categorical"))

    inference = schema_inference.infer(sorted((root / "practicedata").glob("*.csv")), schema)

    assert (inference.schema.features, inference.schema.minimums) == (
        Schema().features,
        Schema().minimums,
    )
    assert inference.set_aside == {}


@pytest.fixture
def open_config(config_path: Path) -> Config:
    """The small installation, with nothing but its target and identifier declared."""
    settings = json.loads(config_path.read_text())
    settings["schema"] = {"target": "exited", "ids": ["corporation"]}
    config_path.write_text(json.dumps(settings))
    return config_file.read_config(config_path)


def deploy(config: Config) -> None:
    """Run the steps up to a release."""
    from scripts import deployment

    ingestion.main(config)
    training.main(config)
    scoring.main(config)
    deployment.main(config)


@pytest.fixture
def pinned(open_config: Config) -> Config:
    """An inferred schema in production: activity is a number, plan a category."""
    rows = [f"c{i},{i % 9},{'gold' if i % 3 else 'iron'},{int(i % 9 < 4)}" for i in range(60)]
    header = "corporation,activity,plan,exited"
    for folder in (open_config.input_folder_path, open_config.test_data_path):
        for path in folder.iterdir():
            path.unlink()
        (folder / "a.csv").write_text("\n".join([header, *rows]) + "\n")
    deploy(open_config)
    return open_config


def test_the_schema_is_written_beside_the_dataset_and_recorded_with_the_model(
    pinned: Config,
) -> None:
    ingested = ingestion.main(pinned)

    written = Kind.SCHEMA.path(pinned.output_folder_path, ingested.stamp)
    schema = dataset.read_schema(written, pinned.schema)
    assert (schema.numeric, schema.categorical) == (("activity",), ("plan",))
    assert training.main(pinned).model.schema == schema
    written.write_text("{")
    with pytest.raises(DatasetError, match="not as ingestion wrote it"):
        training.main(pinned)
    written.unlink()
    with pytest.raises(DatasetError, match="is missing; run ingestion again"):
        training.main(pinned)


def test_a_pinned_schema_rejects_row_by_row_what_does_not_fit(
    pinned: Config, caplog: pytest.LogCaptureFixture
) -> None:
    # Looked at afresh, a column with so much text would be a category.
    rows = [f"d{i},{'many' if i % 2 else i},gold,{i % 2}" for i in range(40)]
    later = pinned.input_folder_path / "b.csv"
    later.write_text("\n".join(["corporation,activity,plan,exited", *rows]) + "\n")
    bad = pinned.input_folder_path / "c.csv"
    bad.write_text("corporation,activity,exited\ne1,1,1\n")
    caplog.set_level(logging.INFO)

    ingested = ingestion.main(pinned)

    by_name = {inference.path.name: inference for inference in ingested.readings}
    assert len(by_name["b.csv"].rejected) == 20
    assert "lacks the columns ['plan']" in by_name["c.csv"].refused
    assert "Inferred the schema" not in caplog.text
    assert training.main(pinned).model.schema.numeric == ("activity",)


def test_a_changed_section_infers_again(pinned: Config, config_path: Path) -> None:
    settings = json.loads(config_path.read_text())
    settings["schema"]["ignore"] = ["plan"]
    config_path.write_text(json.dumps(settings))

    ingestion.main(config_file.read_config(config_path))
    trained = training.main(config_file.read_config(config_path))

    assert trained.model.schema.features == ("activity",)
    assert trained.model.schema.ignore == ("plan",)


def test_how_files_are_written_is_no_part_of_the_pin() -> None:
    complete = msgspec.structs.replace(OPEN, numeric=("a",))

    assert schema_inference.is_pinned(msgspec.structs.replace(OPEN, separator=";"), complete)
    assert not schema_inference.is_pinned(msgspec.structs.replace(OPEN, target="gone"), complete)
    assert not schema_inference.is_pinned(msgspec.structs.replace(OPEN, thousands=","), complete)
    declared = msgspec.structs.replace(OPEN, numeric=("a",), inferred=("categorical",))
    assert not schema_inference.is_pinned(declared, complete)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"target": "x", "percent": ["p"]}, None),
        ({"target": "x", "numeric": [], "categorical": []}, "no numeric and no categorical"),
        ({"target": "x", "numeric": ["a"], "percent": ["p"]}, r"schema\.percent, names \['p'\]"),
        ({"target": "x", "ids": ["x"]}, "more than once"),
        ({"target": "x", "ignore": ["x"]}, "more than once"),
        ({"target": "x", "thousands": "."}, "could be read in two ways"),
        ({"target": "x", "numeric": ["a"], "inferred": ["numeric"]}, "asks to infer them as well"),
        ({"target": "x", "inferred": ["all"]}, "Invalid enum value"),
        ({"target": "x", "positive": {}}, "positive"),
    ],
)
def test_a_section_that_cannot_be_right_is_refused(
    config_path: Path, section: dict[str, object], message: str | None
) -> None:
    settings = json.loads(config_path.read_text()) | {"schema": section}
    config_path.write_text(json.dumps(settings))

    if message is None:
        assert config_file.read_config(config_path).schema.inferred == ("numeric", "categorical")
    else:
        with pytest.raises(ConfigError, match=message):
            config_file.read_config(config_path)


def test_a_target_of_ones_own_has_no_identifiers_unless_named(config_path: Path) -> None:
    settings = json.loads(config_path.read_text())
    config_path.write_text(
        json.dumps(settings | {"schema": {"target": "Churn", "positive": "Yes"}})
    )

    schema = config_file.read_config(config_path).schema

    assert (schema.ids, schema.numeric, schema.inferred) == ((), (), ("numeric", "categorical"))
    config_path.write_text(json.dumps(settings | {"schema": {"positive": "Yes"}}))
    assert config_file.read_config(config_path).schema.features == Schema().features
