"""The suggested schema section for a folder of client tables."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmarks import churn_tables
from scripts import config
from scripts.core.errors import DatasetError
from scripts.data import outcome_suggestion, schema_suggestion, table_split
from scripts.data.schema_suggestion import Suggestion

ROOT = Path(__file__).parents[2]


def write(folder: Path, columns: dict[str, list[str]], separator: str = ",") -> Path:
    """Write columns as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "a.csv"
    path.write_text(churn_tables.to_csv(columns, separator))
    return path


@pytest.mark.parametrize(
    ("name", "separator", "expected"),
    [
        ("telecom", ",", ("Churn", "Yes", ["customerID"], ["Country", "ChurnReason"])),
        (
            "bank", ";",
            (
                "Exited", "1", ["CustomerId"],
                ["RowNumber", "Surname", "Currency", "Complain"],
            ),
        ),
        ("wireless", "\t", ("Churn", "True.", ["Phone"], ["Network", "Retention offer"])),
    ],
)  # fmt: skip
def test_the_traps_of_real_tables_are_noticed(
    tmp_path: Path, name: str, separator: str, expected: tuple[Any, ...]
) -> None:
    path = write(tmp_path, churn_tables.MAKERS[name](1500, 1), separator)

    suggestion = schema_suggestion.suggest([path])

    section = suggestion.section
    assert (section["target"], section["positive"], section["ids"], section["ignore"]) == expected
    notices = "\n".join(suggestion.notices)
    assert f"Separator {separator!r}, encoding utf-8." in notices
    for column in section["ids"]:
        assert f"Likely identifier: {column!r}" in notices
    assert f"Likely leak: {section['ignore'][-1]!r}" in notices
    assert f"{section['ignore'][-2]!r}: it has one value" in notices


def small(labels: list[str], **columns: list[str]) -> dict[str, list[str]]:
    """Make a table of 40 rows with a number and a target."""
    status = [labels[i % len(labels)] for i in range(40)]
    return {"n": [str(i % 7) for i in range(40)], "status": status} | columns


def suggested(folder: Path, columns: dict[str, list[str]], target: str | None = None) -> Suggestion:
    """Suggest a schema for columns."""
    return schema_suggestion.suggest([write(folder, columns)], target)


@pytest.mark.parametrize(
    ("n_names", "expected"), [(200, ["corporation"]), (101, ["corporation"]), (100, ["n"])]
)
def test_names_are_identifiers_also_where_some_clients_stand_in_two_rows(
    tmp_path: Path, n_names: int, expected: list[str]
) -> None:
    names = [f"company{i % n_names}" for i in range(201)]
    columns = {"corporation": names, "n": [str(i) for i in range(201)]}
    columns["status"] = [("left", "stayed", "stayed")[i % 3] for i in range(201)]

    assert suggested(tmp_path, columns).section["ids"] == expected


def test_clients_of_the_source_data_are_known_by_their_corporation() -> None:
    paths = sorted((ROOT / "sourcedata").glob("*.csv"))

    section = schema_suggestion.suggest(paths).section

    assert section["ids"] == ["corporation"]
    assert section["ignore"] == []


def test_labels_that_have_no_known_opposite_are_both_declared(tmp_path: Path) -> None:
    labels = ["Existing Customer"] * 4 + ["Attrited Customer"]

    section = suggested(tmp_path, small(labels)).section

    assert section["positive"] == "Attrited Customer"
    assert section["negative"] == "existing customer"


def test_every_spelling_of_a_label_is_shown(tmp_path: Path) -> None:
    suggestion = suggested(tmp_path, small(["TRUE", "False", "false", "FALSE"]))

    assert suggestion.section["positive"] == "TRUE"
    assert "with the labels 'TRUE', 'False', 'false', 'FALSE'" in "\n".join(suggestion.notices)


def test_a_named_target_wins(tmp_path: Path) -> None:
    columns = small(["a", "b"], churn=["0", "1"] * 20)

    assert suggested(tmp_path, columns).section["target"] == "churn"
    assert suggested(tmp_path, columns, "status").section["target"] == "status"


def test_a_folder_without_a_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="name it with --target"):
        suggested(
            tmp_path, {"n": [str(i % 7) for i in range(40)]} | {"m": ["1", "2", "3", "4"] * 10}
        )


def test_a_target_without_any_word_of_leaving_is_said_to_be_a_guess(tmp_path: Path) -> None:
    columns = {"n": [str(i % 7) for i in range(40)], "auto_pay": ["Y", "N"] * 20}

    guess = suggested(tmp_path, columns)
    named = suggested(tmp_path, columns, "auto_pay")

    assert guess.section["target"] == named.section["target"] == "auto_pay"
    assert "speaks of leaving: this target is a mere guess" in "\n".join(guess.notices)
    assert "mere guess" not in "\n".join(named.notices)


def test_an_ambiguous_separator_is_declared(tmp_path: Path) -> None:
    columns = small(["yes", "no"], **{"a;b": ["1", "2", "3", "4"] * 10})

    assert suggested(tmp_path, columns).section["separator"] == ","


def test_a_blank_that_tells_who_left_is_a_leak(tmp_path: Path) -> None:
    columns = small(["no", "yes"], reason=["", "price"] * 10 + ["", "moved"] * 10)

    assert "reason" in suggested(tmp_path, columns).section["ignore"]


def test_the_split_keeps_every_row_once_and_the_share_of_leavers(tmp_path: Path) -> None:
    table = churn_tables.make_telecom(1000, 2)
    write(tmp_path / "data", table)

    done = CliRunner().invoke(
        config.make_program, ["suggest", str(tmp_path / "data"), "--split", "0.2", "--seed", "42"]
    )

    assert done.exit_code == 0, done.output
    train, test = (
        pd.read_csv(tmp_path / name / f"{name}.csv", dtype=str)
        for name in ("traindata", "testdata")
    )
    assert (len(train), len(test)) == (800, 200)
    assert sorted([*train["customerID"], *test["customerID"]]) == sorted(table["customerID"])
    shares = [(part["Churn"] == "Yes").mean() for part in (train, test)]
    assert shares[0] == pytest.approx(shares[1], abs=0.005)
    again = CliRunner().invoke(
        config.make_program, ["suggest", str(tmp_path / "data"), "--split", "0.2"]
    )
    assert again.exit_code == 65


def test_the_split_is_written_as_the_proposed_section_reads_it(tmp_path: Path) -> None:
    columns = small(["yes", "no", "no", "no"], **{"amount,eur": [str(i % 9) for i in range(40)]})
    path = write(tmp_path / "data", columns, ";")
    section = schema_suggestion.suggest([path]).section

    train, _ = table_split.split_off([path], section, fraction=0.2, seed=42)

    assert section["separator"] == ";"
    assert schema_suggestion.suggest([train]).section == section


def test_the_command_prints_a_section_that_is_json_and_nothing_else_on_its_output(
    tmp_path: Path,
) -> None:
    write(tmp_path, churn_tables.make_wireless(400, 3))

    done = subprocess.run(
        [sys.executable, "-m", "scripts.config", "suggest", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert json.loads(done.stdout)["schema"]["target"] == "Churn"
    assert "Likely leak: 'Retention offer'" in done.stderr


def test_an_empty_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    assert CliRunner().invoke(config.make_program, ["suggest", str(tmp_path)]).exit_code == 65


def test_rows_are_spelled_as_csv() -> None:
    text = table_split.format_rows(pd.DataFrame({"a": ['x"y', "1,2"], "b": ["", "z"]}), ",")

    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ['x"y', ""], ["1,2", "z"]]


@pytest.mark.parametrize(
    ("name", "labels", "positive", "negative"),
    [
        ("retained", ["1", "0", "1", "1"], "0", None),
        ("active", ["yes", "no", "yes", "yes"], "no", None),
        ("IsActive", ["No", "Yes"], "No", None),
        ("contract_renewed", ["TRUE", "FALSE"], "FALSE", None),
        ("still_customer", ["loyal", "gone"], "gone", "loyal"),
        ("state", ["retained", "other", "other", "other"], "other", "retained"),
        # Neither of these speaks of staying.
        ("inactive", ["1", "0", "0", "0"], "1", None),
        ("not_renewed", ["yes", "no"], "yes", None),
        ("unsubscribed", ["yes", "no"], "yes", None),
        ("churned_or_active", ["yes", "no"], "yes", None),
    ],
)
def test_a_column_named_for_staying_has_its_leavers_under_no(
    tmp_path: Path, name: str, labels: list[str], positive: str, negative: str | None
) -> None:
    columns = {
        "n": [str(i % 7) for i in range(40)],
        name: [labels[i % 4 % len(labels)] for i in range(40)],
    }

    section = suggested(tmp_path, columns).section

    assert (section["target"], section["positive"]) == (name, positive)
    assert section.get("negative") == negative


def test_a_status_of_three_labels_comes_before_a_yes_or_no_of_something_else(
    tmp_path: Path,
) -> None:
    status = ["Stayed", "Churned", "Stayed", "Joined"] * 10
    columns = {
        "status": status,
        "paperless": ["Yes", "No"] * 20,
        "n": [str(i) for i in range(40)],
    }

    suggestion = suggested(tmp_path, columns)

    assert suggestion.section["target"] == "status"
    assert (suggestion.section["positive"], suggestion.section["negative"]) == ("Churned", "stayed")
    assert "the 10 rows with 'joined' will be rejected" in "\n".join(suggestion.notices)


def test_a_churn_that_is_sometimes_unknown_is_still_the_target(tmp_path: Path) -> None:
    columns = {"churn": ["Yes", "No", "No", "unknown"] * 10, "paperless": ["Yes", "No"] * 20}

    section = suggested(tmp_path, columns | {"n": [str(i % 7) for i in range(40)]}).section

    assert (section["target"], section["positive"]) == ("churn", "Yes")
    assert "negative" not in section


@pytest.mark.parametrize("name", ["RowNumber", "EmployeeNumber", "customer_index", "account"])
def test_a_repeated_row_makes_no_feature_of_a_number_that_counts_clients(
    tmp_path: Path, name: str
) -> None:
    numbers = [str(1000 + i) for i in range(199)] + ["1000"]
    columns = {name: numbers, "n": [str(i % 7) for i in range(200)], "left": ["1", "0"] * 100}

    assert suggested(tmp_path, columns).section["ids"] == [name]


@pytest.mark.parametrize("name", ["salary", "RowNumber"])
def test_fractions_and_amounts_are_measures_also_where_they_hardly_repeat(
    tmp_path: Path, name: str
) -> None:
    spelled = "{}.5" if name == "RowNumber" else "{}"
    numbers = [spelled.format(1000 + 17 * i) for i in range(199)] + [spelled.format(1000)]
    columns = {name: numbers, "n": [str(i % 7) for i in range(200)], "left": ["1", "0"] * 100}

    suggestion = suggested(tmp_path, columns)

    assert suggestion.section["ids"] == []
    assert "2 numeric" in suggestion.notices[-1]


@pytest.mark.parametrize(
    ("spelling", "marks"),
    [
        ("{},{:02d}", {"decimal": ","}),
        ("1.{:03d},{:02d}", {"decimal": ",", "thousands": "."}),
        ("{},{:03d}", {"thousands": ","}),
        ("{}.{:02d}", {}),
    ],
)
def test_a_decimal_comma_makes_a_number(
    tmp_path: Path, spelling: str, marks: dict[str, str]
) -> None:
    amounts = [spelling.format(100 + i, i % 100) for i in range(200)]
    columns = {"amount": amounts, "n": [str(i % 7) for i in range(200)], "left": ["1", "0"] * 100}

    suggestion = schema_suggestion.suggest([write(tmp_path, columns, ";")])

    section = suggestion.section
    assert {key: section[key] for key in ("decimal", "thousands") if key in section} == marks
    assert section["ids"] == []


def test_a_second_line_that_describes_the_columns_is_no_row_and_no_label(tmp_path: Path) -> None:
    columns = small(["yes", "no", "no", "no"])
    described = {"n": ["number of calls"], "status": ["did the client leave?"]}
    table = {name: described[name] + cells for name, cells in columns.items()}
    write(tmp_path / "data", table)

    done = CliRunner().invoke(
        config.make_program, ["suggest", str(tmp_path / "data"), "--split", "0.25"]
    )

    assert done.exit_code == 0, done.output
    section = schema_suggestion.suggest([tmp_path / "data" / "a.csv"]).section
    assert (section["target"], section["positive"]) == ("status", "yes")
    assert "negative" not in section
    assert "did the client" not in (tmp_path / "traindata" / "traindata.csv").read_text()


def test_the_first_client_is_not_taken_for_a_description(tmp_path: Path) -> None:
    columns = small(["yes", "no"], plan=["gold"] + ["silver"] * 39, town=["Rome"] + ["Oslo"] * 39)

    notices = "\n".join(suggested(tmp_path, columns).notices)

    assert "describes the columns" not in notices


def test_nameless_columns_at_the_end_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, small(["yes", "no"]))
    path.write_text("".join(f"{line},,,\n" for line in path.read_text().splitlines()))

    section = schema_suggestion.suggest([path]).section

    assert section == {"target": "status", "positive": "yes", "ids": [], "ignore": []}


def test_the_score_of_another_model_is_said_to_be_a_possible_leak(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    left = random.random(2000) < 0.3
    # Two normal distributions 2.2 standard deviations apart have the AUC Phi(2.2 / sqrt(2)) = 0.94.
    score = random.normal(0, 1, 2000) + 2.2 * left
    columns = {
        "score": [f"{value:.2f}" for value in score],
        "n": [str(i % 7) for i in range(2000)],
        "churn": ["yes" if flag else "no" for flag in left],
    }

    suggestion = suggested(tmp_path, columns)

    assert suggestion.section["ignore"] == []
    (notices,) = [notice for notice in suggestion.notices if notice.startswith("Possible leak")]
    assert "'score' alone tells who left with 0.9" in notices


def test_a_merge_conflict_is_named_as_one(tmp_path: Path) -> None:
    path = write(tmp_path, small(["yes", "no"]))
    path.write_text("<<<<<<< HEAD\n" + path.read_text())

    with pytest.raises(DatasetError, match="'<<<<<<< HEAD', is the mark of a merge conflict"):
        schema_suggestion.suggest([path])

    (tmp_path / "b.csv").write_text(churn_tables.to_csv(small(["yes", "no"]), ","))
    notices = schema_suggestion.suggest([path, tmp_path / "b.csv"]).notices
    assert any("a.csv cannot be read" in text and "merge conflict" in text for text in notices)


def test_an_identifier_with_blanks_is_not_proposed_beside_a_full_one(tmp_path: Path) -> None:
    keys = [f"k{i}" for i in range(200)]
    columns = {
        "customer": keys, "surname": ["", *keys[1:]],
        "n": [str(i % 7) for i in range(200)], "left": ["1", "0"] * 100,
    }  # fmt: skip

    suggestion = suggested(tmp_path, columns)

    assert suggestion.section["ids"] == ["customer"]
    assert suggestion.section["ignore"] == ["surname"]
    assert "'surname': it is likely an identifier, but blank in 1 row" in "\n".join(
        suggestion.notices
    )


def test_a_key_comes_before_a_name_and_its_blanks_are_said(tmp_path: Path) -> None:
    keys = [f"k{i}" for i in range(200)]
    columns = {
        "customer": ["", "", *keys[2:]], "surname": ["", *keys[1:]],
        "n": [str(i % 7) for i in range(200)], "left": ["1", "0"] * 100,
    }  # fmt: skip

    suggestion = suggested(tmp_path, columns)

    assert suggestion.section["ids"] == ["customer"]
    assert "It is blank in 2 rows, which will be rejected." in "\n".join(suggestion.notices)


def test_the_split_keeps_todays_clients_and_says_what_it_leaves_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    columns = small(
        ["yes", "no", "no", "", "no", "maybe", "no", "no"], key=[f"k{i}" for i in range(40)]
    )
    path = write(tmp_path / "data", {name: cells + cells[:1] for name, cells in columns.items()})
    section = {"target": "status", "positive": "yes", "ids": ["key"], "ignore": []}

    places = table_split.split_off([path], section, fraction=0.2, seed=1)

    train, test = (pd.read_csv(place, dtype=str, keep_default_na=False) for place in places)
    assert (train["status"] == "").sum() == 5
    assert set(test["status"]) == {"yes", "no"}
    assert (len(train), len(test)) == (24 + 5, 6)
    # The last row of a client counts, so the order of the file is kept.
    order = [int(key[1:]) for key in train["key"]]
    assert order == sorted(order)
    assert f"5 rows of {places[0]} have no label: today's clients." in caplog.text
    assert "Left out 5 rows whose label is neither of ['yes', 'no']" in caplog.text
    assert "Left out 1 row that is equal to another" in caplog.text


def test_a_split_that_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    columns = small(["no"] * 39 + ["yes"], key=[f"k{i}" for i in range(40)])
    path = write(tmp_path / "data", columns)

    with pytest.raises(DatasetError, match="cannot be split: 39 'no', 1 'yes'"):
        table_split.split_off([path], {"target": "status", "positive": "yes"}, fraction=0.2, seed=1)


def test_a_target_of_one_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'status' has 1 labels"):
        suggested(tmp_path, small(["yes"]), "status")


def test_a_file_in_another_encoding_is_named_and_does_not_stop_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, small(["left", "stayed", "stayed"]))
    odd = tmp_path / "an odd one.csv"
    odd.write_bytes(path.read_text().encode("utf-16"))

    suggestion = schema_suggestion.suggest([odd, path])
    with pytest.raises(DatasetError, match=r"odd one\.csv: .*it looks like UTF-16.*CSV in UTF-8"):
        schema_suggestion.suggest([odd])

    assert suggestion.section["target"] == "status"
    assert "an odd one.csv cannot be read: line 1 is not UTF-8" in "\n".join(suggestion.notices)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(config.make_program, ["suggest", str(tmp_path)])

    assert f"There is no CSV file in {tmp_path}." in done.stderr


@pytest.mark.parametrize(
    ("name", "labels", "is_found"),
    [
        ("holdout", ["gone", "here"], True),
        ("validation_set_2", ["gone", "here"], True),
        ("testing of the new website", ["gone", "here"], False),
        ("Test", ["NA", "NA"], False),
        ("other", ["gone", "here"], False),
    ],
)
def test_a_folder_of_test_data_beside_the_input_is_found_by_its_name_and_labels(
    tmp_path: Path, name: str, labels: list[str], *, is_found: bool
) -> None:
    write(tmp_path / "train", small(["gone", "here"]))
    write(tmp_path / name, small(labels))

    done = CliRunner().invoke(config.make_program, ["suggest", str(tmp_path / "train")])

    found = tmp_path / (name if is_found else "testdata")
    assert json.loads(done.stdout)["test_data_path"] == str(found)


def test_a_target_by_name_with_many_values_is_named_beside_a_mere_guess(tmp_path: Path) -> None:
    columns = {
        "n": [str(i % 7) for i in range(40)], "sex": ["f" if i % 2 else "m" for i in range(40)],
        "churn_risk_score": [str(i % 6) for i in range(40)],
    }  # fmt: skip

    told = suggested(tmp_path, columns).notices

    assert any(line.startswith("'churn_risk_score' speaks of leaving, and has 6") for line in told)


@pytest.mark.parametrize("title", ["Export of clients", "Export of clients;;;", "sep=;"])
def test_a_title_above_the_names_of_the_columns_is_quoted(tmp_path: Path, title: str) -> None:
    path = write(tmp_path, small(["gone", "here"]), ";")
    path.write_text(f"{title}\n{path.read_text()}")

    with pytest.raises(DatasetError, match=f"first line is '{title}'; expected the names"):
        schema_suggestion.suggest([path])


def test_a_name_of_two_columns_is_said_as_in_a_run(tmp_path: Path) -> None:
    path = write(tmp_path, small(["gone", "here"], plan=["a", "b"] * 20))
    path.write_text(path.read_text().replace("plan", "n", 1))

    with pytest.raises(DatasetError, match=r"header names \['n'\] more than once"):
        schema_suggestion.suggest([path])


def test_a_folder_beside_which_nothing_can_be_read_has_no_folders_nearby(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "train").mkdir()

    assert outcome_suggestion.list_folders(tmp_path, tmp_path / "train") == [tmp_path / "test"]
    assert outcome_suggestion.list_folders(tmp_path / "nowhere", tmp_path / "train") == []
