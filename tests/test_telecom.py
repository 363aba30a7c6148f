"""The second example: another table, end to end, with nothing but its target declared."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from examples.telecom import make_data
from scripts import (
    config,
    deployment,
    ingestion,
    promotion,
    release,
    reporting,
    scoring,
    training,
)
from scripts.artifacts import Kind
from scripts.promotion import Answer

FOLDER = Path(make_data.__file__).parent


@pytest.mark.parametrize(("name", "text"), make_data.make_tables().items())
def test_the_tables_in_the_repository_are_those_the_program_makes(name: str, text: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == text


def test_the_example_has_twelve_mixed_columns_and_2000_rows() -> None:
    rows = [line for text in make_data.make_tables().values() for line in text.splitlines()[1:]]

    assert len(make_data.HEADER) == 12
    assert len(rows) == 2000


def test_another_table_goes_from_files_to_a_release_and_is_read_by_its_pin_afterwards(
    tmp_path: Path,
) -> None:
    shutil.copytree(FOLDER, tmp_path / "telecom")
    path = tmp_path / "telecom" / "config.json"
    settings = json.loads(path.read_text()) | {"ingestion": {"settle_s": 0}}
    path.write_text(json.dumps(settings))
    chosen = config.read_config(path)

    ingestion.main(chosen)
    training.main(chosen)
    scored = scoring.main(chosen)
    assert promotion.main(chosen).answer is Answer.DEPLOY
    deployment.main(chosen)
    reporting.main(chosen)

    current = release.load_current(chosen.prod_deployment_path)
    assert current is not None
    schema = current.model.schema
    assert schema.numeric == ("SeniorCitizen", "tenure", "MonthlyCharges", "TotalCharges")
    assert schema.categorical[:2] == ("gender", "Contract")
    assert "Country" not in schema.columns
    assert (scored.evaluation.f1 or 0) > 0.6
    total = current.model.numeric[3]
    assert total.missing_coefficient != 0
    contract = current.model.categorical[1]
    assert contract.rare == ("Staff",)

    # A later file with a text where the pin has a number loses that row and no other.
    header = ",".join(make_data.HEADER)
    row = "9-X,Male,0,{},One year,DSL,Mailed check,Yes,Nowhere,50,90,No"
    later = chosen.input_folder_path / "march.csv"
    later.write_text("\n".join([header, row.format("many"), row.format("12")]) + "\n")
    made = ingestion.main(chosen)
    assert made.n_rows == 1601
    written = Kind.SCHEMA.path(chosen.output_folder_path, made.stamp).read_bytes()
    assert msgspec.json.decode(written, type=config.Schema) == schema
