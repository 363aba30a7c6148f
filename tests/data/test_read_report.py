"""Read reports: detected formats, rejected rows and their messages."""

import logging
from pathlib import Path

import pytest

from scripts.core.config import Config
from scripts.data import read_report
from scripts.data.read_report import FileReading, RejectedRow


def test_a_detected_separator_is_logged_once_per_kind_of_file(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    readings = [
        FileReading(Path("a.csv"), separator=";", encoding="utf-8", is_detected=True),
        FileReading(Path("b.csv"), separator="\t", encoding="utf-8-sig", is_detected=True),
        FileReading(Path("c.csv"), separator=";", encoding="utf-8", is_detected=True),
        FileReading(Path("d.csv"), separator="|", encoding="utf-8", is_detected=False),
        FileReading(Path("e.csv"), refused="it is empty", is_detected=True),
    ]

    read_report.log_detections(readings)

    assert caplog.messages == [
        "Detected the separator ';' and the encoding utf-8 in 2 files: a.csv, c.csv.",
        "Detected the separator '\\t' and the encoding utf-8-sig in 1 file: b.csv.",
    ]


def test_what_is_not_used_is_logged_without_what_was_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = RejectedRow("a.csv", 3, "age", "expected a number or nothing", "'canary'")
    readings = [
        FileReading(Path("a.csv"), n_rows=2, rejected=[bad]),
        FileReading(Path("b.csv"), refused="it is empty", rejected=[bad]),
    ]

    read_report.log_readings(readings)

    assert caplog.messages == [
        "Rejected 1 of 2 rows of a.csv; the first: line 3 age expected a number or nothing.",
        "Refused b.csv: it is empty.",
    ]
    assert "found 'canary'" in read_report.format_rejected(readings)


def test_a_formula_in_a_rejected_row_is_no_formula() -> None:
    bad = RejectedRow("=cmd.csv", 3, "@age", "=1", "'x;=1+1'")

    text = read_report.format_rejected([FileReading(Path("=cmd.csv"), n_rows=2, rejected=[bad])])

    assert text.splitlines()[1] == "'=cmd.csv,3,'@age,\"'=1, found 'x;'=1+1'\""


def test_a_label_of_many_rows_is_shown_and_one_of_few_is_not() -> None:
    reason = "expected one of ['y', 'n']"
    rows = [RejectedRow("a.csv", n + 2, "Churn", reason, "'yess'") for n in range(10)]
    rows.append(RejectedRow("a.csv", 99, "Churn", reason, "'+41 79 123 45 67'"))

    text = read_report.format_unused(FileReading(Path("a.csv"), n_rows=100, rejected=rows))

    assert text.endswith("line 2 Churn expected one of ['y', 'n']; found 'yess' in 10 rows.")


def test_most_rows_of_a_file_rejected_for_their_labels_is_said_with_the_labels() -> None:
    reason = "expected one of ['y', 'n']"
    rows = [
        RejectedRow("a.csv", n + 2, "Churn", reason, "'yes'" if n % 3 else "'no'") for n in range(9)
    ]

    sentence = read_report.format_mostly_rejected(
        [FileReading(Path("a.csv"), n_rows=10, rejected=rows)]
    )

    assert sentence == (
        "9 of 10 rows of a.csv were rejected; the first: line 2 Churn expected one of ['y', 'n'];"
        " found 'yes' in 6 rows, 'no' in 3 rows."
    )
    assert not read_report.format_mostly_rejected(
        [FileReading(Path("a.csv"), n_rows=11, rejected=rows)]
    )


def test_values_of_which_there_are_many_are_not_shown_as_labels() -> None:
    rows = [RejectedRow("a.csv", n, "Churn", "expected one of [1]", f"'{n}'") for n in range(9)]

    sentence = read_report.format_mostly_rejected(
        [FileReading(Path("a.csv"), n_rows=9, rejected=rows)]
    )

    assert "found 9 different values" in sentence
    assert "'7'" not in sentence


def test_mixed_files_in_a_folder_make_one_dataset(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    from scripts import ingestion

    caplog.set_level(logging.INFO)
    plain = ingestion.main(config).dataset_path.read_bytes()
    for path, separator, encoding in zip(
        sorted(config.input_folder_path.iterdir()), ";\t", ("utf-8-sig", "utf-8"), strict=True
    ):
        path.write_text(path.read_text().replace(",", separator), encoding=encoding)

    assert ingestion.main(config).dataset_path.read_bytes() == plain
    assert "the separator ';' and the encoding utf-8-sig in 1 file: a.csv." in caplog.text
    assert "the separator '\\t' and the encoding utf-8 in 1 file: b.csv." in caplog.text
