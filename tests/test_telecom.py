"""The second example: another table, end to end, with nothing but its target declared."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient

from examples.telecom import make_data
from scripts import fullprocess, ingestion
from scripts.app import create_app
from scripts.core import config, config_file
from scripts.core.artifacts import Kind
from scripts.production import release
from scripts.records.tables import Verdict
from tests.support.service import answer_of

FOLDER = Path(make_data.__file__).parent


@pytest.mark.parametrize(("name", "text"), make_data.make_tables().items())
def test_the_tables_in_the_repository_are_those_the_program_makes(name: str, text: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == text


def test_the_example_has_twelve_mixed_columns_and_2000_rows() -> None:
    rows = [line for text in make_data.make_tables().values() for line in text.splitlines()[1:]]

    assert len(make_data.HEADER) == 12
    assert len(rows) == 2000


def check_answers(client: FlaskClient) -> None:
    """Ask the service about this table, also about a category that it has never seen."""
    header = ",".join(make_data.HEADER)
    body = f"{header}\n9-N,Male,0,12,Decade,DSL,Mailed check,Yes,Nowhere,50,,\n"
    answer = answer_of(client.post("/predict", data=body, content_type="text/csv"))
    (new,) = answer["unknown_categories"]
    assert (new["column"], new["found"]) == ("Contract", "Decade")
    assert new["known"] == ["Month-to-month", "One year", "Staff", "Two year"]
    assert 0 < answer["probabilities"][0] < 1

    diagnosis = answer_of(client.get("/diagnose"))
    counts = diagnosis["predictions"]["n_unknown_categories"]
    assert {name: n_rows for name, n_rows in counts.items() if n_rows} == {"Contract": 1}
    summary = answer_of(client.get("/summarise"))
    assert summary["columns"] == [
        "SeniorCitizen", "tenure", "MonthlyCharges", "TotalCharges", "Churn",
    ]  # fmt: skip
    description = answer_of(client.get("/openapi.json"))
    row = description["components"]["schemas"]["Row"]
    assert row["properties"]["Contract"]["examples"] == new["known"]
    assert row["properties"]["tenure"]["type"] == ["number", "null"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The config.json of a copy of the example, with a test row whose contract is a new one."""
    shutil.copytree(FOLDER, tmp_path / "telecom")
    path = tmp_path / "telecom" / "config.json"
    settings = {"ingestion": {"settle_s": 0}, "api": {"port": 1}}
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with (path.parent / "testdata" / "testdata.csv").open("a") as file:
        file.write("9-T,Male,0,12,Decade,DSL,Mailed check,Yes,Nowhere,50,600,No\n")
    return path


@pytest.mark.usefixtures("with_charts")
def test_another_table_goes_from_files_to_answers_and_is_read_by_its_pin_afterwards(
    installed: Path,
) -> None:
    chosen = config_file.read_config(installed)

    assert fullprocess.main(chosen) is Verdict.DEPLOYED

    current = release.load_current(chosen.prod_deployment_path)
    assert current is not None
    schema = current.model.schema
    assert schema.numeric == ("SeniorCitizen", "tenure", "MonthlyCharges", "TotalCharges")
    assert schema.categorical[:2] == ("gender", "Contract")
    assert "Country" not in schema.columns
    assert current.manifest.f1 > 0.6
    total = current.model.numeric[3]
    assert total.missing_coefficient != 0
    contract = current.model.categorical[1]
    # Some six rows of it: enough for a coefficient of its own, which the penalty keeps small.
    assert "Staff" in contract.categories

    assert (chosen.output_model_path / "confusion_matrix.png").stat().st_size > 1000
    check_answers(create_app(installed).test_client())

    # A later file with a text where the pin has a number loses that row and no other.
    header = ",".join(make_data.HEADER)
    row = "9-X,Male,0,{},One year,DSL,Mailed check,Yes,Nowhere,50,90,No"
    later = chosen.input_folder_path / "march.csv"
    later.write_text("\n".join([header, row.format("many"), row.format("12")]) + "\n")
    made = ingestion.main(chosen)
    assert made.n_rows == 1601
    written = Kind.SCHEMA.path(chosen.output_folder_path, made.stamp).read_bytes()
    assert msgspec.json.decode(written, type=config.Schema) == schema
