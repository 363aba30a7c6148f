"""Charts and the report: only what is listed, and nothing else of the folder."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient

from scripts import gallery
from scripts.gallery import Chart
from tests.service import problem_of

PICTURE = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    """A chart that is listed."""
    made = Chart(
        name="roc", file=gallery.name_file("roc", PICTURE), title="ROC <curve>",
        alt='The area is "0.84".', width=640, height=480, page="models",
    )  # fmt: skip
    gallery.write(tmp_path / "models", [(made, PICTURE)], datetime.now(UTC), "r")
    return made


def test_a_listed_chart_is_shown_with_its_words(client: FlaskClient, chart: Chart) -> None:
    page = client.get("/dashboard/models", headers={"Accept": "text/html"}).text

    assert f'src="/charts/{chart.file}" alt="The area is &#34;0.84&#34;."' in page
    assert "ROC &lt;curve&gt;" in page
    assert 'width="640" height="480"' in page


def test_a_chart_may_be_kept_for_ever_and_run_nothing(client: FlaskClient, chart: Chart) -> None:
    response = client.get(f"/charts/{chart.file}")

    assert (response.status_code, response.data) == (200, PICTURE)
    assert response.content_type == "image/svg+xml"
    assert "immutable" in response.headers["Cache-Control"]
    policy = response.headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


@pytest.mark.parametrize(
    "name", ["index.json", "x.svg", "roc-00000000.svg", "../config.json", "..%2fconfig.json", "%00",
             "roc", "/etc/passwd", "a" * 5000]
)  # fmt: skip
def test_what_is_not_listed_is_not_handed_out(client: FlaskClient, chart: Chart, name: str) -> None:
    problem_of(client.get(f"/charts/{name}"), 404)


def test_a_listed_chart_that_is_gone_is_404(
    client: FlaskClient, chart: Chart, tmp_path: Path
) -> None:
    (tmp_path / "models" / "charts" / chart.file).unlink()

    problem_of(client.get(f"/charts/{chart.file}"), 404)


def test_an_index_that_leads_elsewhere_is_not_followed(client: FlaskClient, tmp_path: Path) -> None:
    made = Chart(name="x", file="../secret.svg", title="", alt="", width=1, height=1, page="data")
    folder = tmp_path / "models" / "charts"
    gallery.write(tmp_path / "models", [], datetime.now(UTC), None)
    (tmp_path / "models" / "secret.svg").write_bytes(b"secret")
    index = (
        (folder / "index.json")
        .read_text()
        .replace('"charts": []', f'"charts": [{msgspec.json.encode(made).decode()}]')
    )
    (folder / "index.json").write_text(index)

    problem_of(client.get("/charts/../secret.svg"), 404)


def test_the_newest_report_is_handed_out(client: FlaskClient, tmp_path: Path) -> None:
    for name in ("report_20250101T000000000000Z.pdf", "report_20250102T000000000000Z.pdf",
                 "report_20259999T000000000000Z.pdf", "report_zzz.pdf"):  # fmt: skip
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "models" / name).write_bytes(name.encode())

    response = client.get("/report.pdf")

    assert response.data == b"report_20250102T000000000000Z.pdf"
    assert response.content_type == "application/pdf"


def test_before_the_first_report_the_answer_says_how_to_make_one(client: FlaskClient) -> None:
    problem = problem_of(client.get("/report.pdf"), 404)

    assert "python -m scripts.reporting --pdf" in problem["detail"]
