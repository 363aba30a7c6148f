"""The model card says what the records know, and `unknown` for the rest."""

from pathlib import Path
from typing import Any

import msgspec
from pypdf import PdfReader

from scripts import fullprocess, reporting
from scripts.app import create_app
from scripts.core.column_words import PLAIN
from scripts.core.config import Config
from scripts.production import card_records, model_card, release
from scripts.production.model_card import CardRecords, CardSection, CardTable
from scripts.production.release import Release
from scripts.records import database, runs
from tests.support.monthly import Company, configure


def current(config: Config) -> Release:
    """Return the release in production."""
    found = release.load_current(config.prod_deployment_path)
    assert found is not None
    return found


def facts_of(sections: list[CardSection]) -> dict[str, str]:
    """Return all facts by name."""
    return {name: text for section in sections for name, text in section.facts}


def test_what_nobody_recorded_is_unknown(deployed: Config) -> None:
    facts = facts_of(model_card.make_card(deployed, current(deployed), CardRecords()))

    for name in ("Serves since", "Deployed by", "Decision", "Read on", "Metrics"):
        assert facts[name] == "unknown"
    assert facts["Outcomes"].startswith("unknown")
    for name in ("training rows", "test rows", "today's clients"):
        assert facts[f"Period: {name}"] == "unknown: the rows have no date"
    assert facts["Groups"].startswith("not measured: name columns in evaluation.groups")
    # The release itself knows its rows.
    assert facts["Rows"].startswith("26, of which 26 were fitted")


def test_a_model_without_validation_has_an_unknown_calibration(deployed: Config) -> None:
    serving = current(deployed)
    bare = msgspec.structs.replace(
        serving, model=msgspec.structs.replace(serving.model, validation={})
    )

    facts = facts_of(model_card.make_card(deployed, bare, CardRecords()))

    expected = "unknown on unknown rows held out at training"
    assert facts["Expected calibration error"] == expected


def test_the_card_has_the_figures_of_the_records(config: Config) -> None:
    fullprocess.main(config)
    serving = current(config)
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        found = card_records.read_card(connection, serving.name, serving.manifest.model_stamp)
        recorded = runs.find_model(connection, serving.manifest.model_stamp)

    facts = facts_of(model_card.make_card(config, serving, found))

    assert recorded is not None
    assert facts["F1 at training"].startswith(f"{recorded['f1']:.3f} (95 % interval ")
    assert facts["Fresh evidence"].startswith("these test rows have judged this candidate alone")
    assert facts["Decision"].startswith("deploy: nothing was in production before")
    assert facts["Approved by"] == "nobody: candidates are deployed automatically"
    assert facts["Few test rows"].startswith("the quality is known roughly only")


def test_the_card_is_served_as_markdown_and_linked(config: Config, config_path: Path) -> None:
    fullprocess.main(config)
    client = create_app(config_path).test_client()

    response = client.get("/model-card")

    assert response.content_type == "text/markdown; charset=utf-8"
    assert response.text.startswith("# Model card\n\n## Purpose\n")
    assert "- **F1 at training**: " in response.text
    assert '<a href="/model-card">' in client.get("/dashboard/models").text


def test_groups_of_clients_have_intervals() -> None:
    names = ("f1", "precision", "recall", "listed", "gap")
    row: dict[str, Any] = {f"{name}{end}": 0.5 for name in names for end in ("", "_low", "_high")}
    row |= {"column": "plan", "group": "gold", "n_rows": 1234, "f1": None}

    section = model_card.describe_groups(CardRecords(groups=[row]), PLAIN)

    assert section.table is not None
    assert section.table.rows[0][:5] == (
        "plan", "gold", "1,234", "unknown", "0.50 (0.50 to 0.50)",
    )  # fmt: skip


def test_before_the_first_release_the_card_is_503(config_path: Path) -> None:
    assert create_app(config_path).test_client().get("/model-card").status_code == 503


def test_names_cannot_change_the_form_of_the_card() -> None:
    table = CardTable(("file",), (("a|b\n# x <script>",),))

    text = model_card.as_markdown([CardSection("Data", (("Files", "*1*"),), table)])

    assert "- **Files**: \\*1\\*\n" in text
    assert "\n| a\\|b \\# x \\<script\\> |\n" in text


def test_the_report_has_the_card_on_pages_of_its_own(config: Config) -> None:
    fullprocess.main(config)

    path = reporting.main(config, pdf=True)

    pages = [page.extract_text() for page in PdfReader(path).pages]
    (first,) = (text for text in pages if "Model card" in text)
    assert "Not meant for" in first


def test_dated_rows_have_the_days_of_training_and_test(tmp_path: Path) -> None:
    config = configure(tmp_path)
    Company(n_clients=80).write(tmp_path, 6)

    fullprocess.main(config)

    serving = current(config)
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        found = card_records.read_card(connection, serving.name, serving.manifest.model_stamp)
    facts = facts_of(model_card.make_card(config, serving, found))
    # The last known outcome lies before 30 June, so the 30 days of 31 May are not over for good.
    # Those of the rows of training were over when the test began.
    assert found.model is not None
    assert facts["Period: training rows"] == (
        "as of 2025-01-31 to 2025-03-31, outcomes within 30 days"
    )
    assert facts["Period: test rows"] == "as of 2025-04-30, outcomes within 30 days"
    assert facts["Period: today's clients"] == "as of 2025-06-30"
    assert found.model["periods"]["last_test_day"] == "2025-04-30"


def test_dated_rows_of_an_earlier_version_have_unknown_days(deployed: Config) -> None:
    dated = msgspec.structs.replace(
        deployed, schema=msgspec.structs.replace(deployed.schema, key="corporation", date="day")
    )

    facts = facts_of(model_card.make_card(dated, current(deployed), CardRecords()))

    assert facts["Period: training rows"] == facts["Period: today's clients"] == "unknown"
