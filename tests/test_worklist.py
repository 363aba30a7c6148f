"""The worklist on the command line."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scripts import worklist
from scripts.core.config import Config
from tests.support.clientele import CLIENTS, FIRST, ask, put_clients, score, score_twice, serve
from tests.support.recorded import last_scores
from tests.support.service import ROOT

HEADER = "corporation,lastmonth_activity,lastyear_activity,number_of_employees"


def run(config_path: Path, *arguments: str) -> Result:
    """Run the command line."""
    words = ["--config", str(config_path), *arguments]
    return CliRunner().invoke(worklist.make_program(words), words)


def lines_of(result: Result) -> list[str]:
    """Return the lines of a successful output."""
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_the_list_tells_whom_to_call_and_why(config_path: Path, config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)

    head, _, titles, x, *_, b = lines_of(run(config_path))

    assert head.startswith("4 clients (2 high, 1 low, 1 no data), scored at ")
    assert titles.split() == ["#", "client", "risk", "band", "change", "why"]
    assert x.startswith("1  x       75.0%  high")
    assert x.endswith("lastmonth_activity 0; clients who stay: 3")
    assert b.endswith("too many blanks")
    assert "%" not in b


def test_a_team_is_told_what_its_list_catches(config_path: Path, config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    settings = json.loads(config_path.read_text()) | {"worklist": {"capacity": 1}}
    config_path.write_text(json.dumps(settings))

    second = lines_of(run(config_path))[1]

    assert second.startswith(
        "Calling the 1 riskiest is expected to reach 67% (2 of 3; 95 % interval 21% to 94%)"
    )


def test_one_client_shows_the_split_and_the_history(config_path: Path, config: Config) -> None:
    score_twice(config)

    text = run(config_path, "--client", "x").stdout

    assert "lastmonth_activity from 0 to 2: lowered the risk  -2.1972" in text
    assert "the model was trained again                       -1.0986" in text
    assert "together, in log-odds                             -3.2958" in text
    assert "History ▇▁" in text
    assert "left; predicted 25.0%" in run(config_path, "--client", "z").stdout


def test_outcomes_wait_until_there_are_enough(config_path: Path, config: Config) -> None:
    score_twice(config)

    assert lines_of(run(config_path, "--outcomes")) == ["Not enough outcomes yet: 2 of 30."]


def test_csv_and_json_have_the_same_clients(config_path: Path, config: Config) -> None:
    score_twice(config)

    rows = list(csv.DictReader(lines_of(run(config_path, "--format", "csv"))))
    page = json.loads(run(config_path, "--format", "json").stdout)

    assert [row["client"] for row in rows] == ["x", "b"]
    assert [float(row["probability"]) for row in rows] == [
        entry["probability"] for entry in page["clients"]
    ]
    assert json.loads(run(config_path, "--outcomes", "--format", "json").stdout)["n_outcomes"] == 2
    assert json.loads(run(config_path, "--client", "x", "--format", "json").stdout)["change"]


@pytest.mark.parametrize("columns", [HEADER, HEADER + ",exited"])
def test_a_table_is_ranked_with_or_without_labels(
    config_path: Path, config: Config, tmp_path: Path, columns: str
) -> None:
    serve(config, FIRST)
    table = tmp_path / "some.csv"
    end = "," if columns.endswith("exited") else ""
    table.write_text(f"{columns}\n=z,2,7,3{end}\nx,0,7,3{end}\n")

    rows = list(csv.DictReader(lines_of(run(config_path, str(table), "--format", "csv"))))

    assert [(row["client"], row["band"]) for row in rows] == [("x", "high"), ("'=z", "low")]
    assert len(lines_of(run(config_path, str(table), "--top", "1"))) == 2
    assert json.loads(run(config_path, str(table), "--format", "json").stdout)[0]["client"] == "x"
    assert not (config_path.parent / "adras.db").exists()


def test_a_list_that_lacks_rows_of_its_table_ends_with_65_and_says_so(
    config_path: Path, config: Config, tmp_path: Path
) -> None:
    serve(config, FIRST)
    table = tmp_path / "some.csv"
    bad = [f"bad{n},many,7,3" for n in range(4)]
    table.write_text("\n".join([HEADER, bad[0], "x,0,7,3", *bad[1:], ""]))

    done = run(config_path, str(table), "--format", "csv")

    assert done.exit_code == 65
    assert [row["client"] for row in csv.DictReader(done.stdout.splitlines())] == ["x"]
    assert (
        f"4 of 5 rows of {table} are not on this list; the first: line 2 lastmonth" in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [("corporation\nx\n", 65), (HEADER + "\n", 65), ("", 65)],
)
def test_a_table_that_cannot_be_ranked_is_refused(
    config_path: Path, config: Config, tmp_path: Path, content: str, code: int
) -> None:
    serve(config, FIRST)
    (tmp_path / "some.csv").write_text(content)

    assert run(config_path, str(tmp_path / "some.csv")).exit_code == code


def test_without_a_release_or_records_it_says_what_to_do_first(
    config_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "some.csv").write_text(HEADER + "\nx,1,2,3\n")

    assert run(config_path).exit_code == 66
    assert run(config_path, str(tmp_path / "some.csv")).exit_code == 66
    assert not (tmp_path / "adras.db").exists()


def test_an_unknown_client_is_refused(config_path: Path, config: Config) -> None:
    score_twice(config)

    assert run(config_path, "--client", "nobody").exit_code == 65


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("ACME", "did you mean 'Acme Holding' or 'Acme Ltd'?"),
        ("Acme Ldt", "did you mean 'Acme Ltd' or"),
        ("%", "see python -m scripts.worklist."),
        ("nobody", "see python -m scripts.worklist."),
    ],
)
def test_near_names_of_clients_are_offered(
    config_path: Path, config: Config, asked: str, hint: str
) -> None:
    serve(config, FIRST)
    put_clients(config, ["Acme Ltd,2,7,3,", "Acme Holding,0,7,3,", "zoo,1,7,3,"])
    score(config)

    refused = run(config_path, "--client", asked)

    assert refused.exit_code == 65
    assert f"No client {asked!r} was scored; {hint}" in refused.stderr


def test_before_the_first_scoring_it_says_what_to_do(config_path: Path, config: Config) -> None:
    serve(config, FIRST)
    score(config)

    assert lines_of(run(config_path))[0].startswith("No client has been scored yet. The last")


def test_a_name_cannot_steer_the_terminal(config_path: Path, config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, ["a\u202eb\u009b31m,0,7,3,"])
    score(config)

    text = run(config_path).stdout

    assert "\u202e" not in text
    assert "\u009b" not in text
    assert len(ask(config, last_scores)) == 1


def test_the_command_line_brings_neither_pandas_nor_scikit_learn(config_path: Path) -> None:
    code = (
        "import sys, scripts.worklist\n"
        "print([name for name in ('pandas', 'sklearn', 'matplotlib') if name in sys.modules])"
    )

    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert shown.stdout.strip() == "[]"


@pytest.fixture
def scored_path(config_path: Path, config: Config) -> Path:
    """The configuration of an installation with four scored clients."""
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    return config_path


def test_work_is_recorded_at_the_terminal_and_shown_on_the_list(scored_path: Path) -> None:
    done = run(scored_path, "done", "x", "--result", "saved", "--note", "a year", "--by", "ada")
    assigned = run(scored_path, "assign", "y", "bob")
    refused = run(scored_path, "snooze", "z", "2099-01-01")

    assert done.stdout.startswith("x: saved "), done.output
    assert " by ada, away until " in done.stdout
    assert assigned.stdout == "y: assigned to bob\n"
    assert refused.exit_code == 65
    _, away, _, titles, *rows = lines_of(run(scored_path))
    assert away == "1 of them were contacted or snoozed, and stand at the end."
    assert titles.split()[-1] == "work"
    assert [row.split()[1] for row in rows] == ["y", "z", "b", "x"]
    assert rows[0].endswith("assigned to bob")
    shown = run(scored_path, "--client", "x").stdout
    assert "none -> saved" in shown
    assert "a year" in shown
    again = run(scored_path, "done", "x", "--result", "saved", "--note", "a year", "--by", "ada")
    assert again.stdout.endswith("(as recorded already)\n")


def test_a_file_of_results_is_imported_once(scored_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("client;result\nx;saved\ny;not reached\n")

    first, second = (run(scored_path, "import", str(path)) for _ in range(2))

    assert first.stdout == "Recorded 2 results; 0 were known already.\n"
    assert second.stdout == "Recorded 0 results; 2 were known already.\n"


@pytest.mark.parametrize(
    ("words", "exit_code", "complaint"),
    [
        (["done", "x"], 2, "Missing option '--result'"),
        (["done", "x", "--result", "won"], 2, "is not one of"),
        (["done", "q", "--result", "saved"], 65, ""),
        (["import", "absent.csv"], 2, "does not exist"),
    ],
)
def test_wrong_words_about_work_are_refused(
    scored_path: Path, words: list[str], exit_code: int, complaint: str
) -> None:
    result = run(scored_path, *words)

    assert result.exit_code == exit_code
    assert complaint in result.output


def test_the_help_names_the_commands_for_work(scored_path: Path) -> None:
    printed = run(scored_path, "--help").stdout

    for command in ("done", "assign", "snooze", "export", "import", "mail", "events"):
        assert f" {command}" in printed, command
    assert "[TABLE]" in printed
