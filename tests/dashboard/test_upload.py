"""What is sent through a page: read strictly, published whole, never over anything."""

import io
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts import ingestion
from scripts.app import create_app
from scripts.core import artifacts, erased_clients, files, keys
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import DatasetError
from scripts.dashboard import upload
from tests.conftest import HEADER
from tests.support.service import answer_of, edit_config, tree_hash

GOOD = f"{HEADER}\nacme,3,100,20,\nzeta,150,900,40,1\n".encode()
# x,0 has the odds 3, z,2 a third.
TABLE = b"corporation,lastmonth_activity,lastyear_activity,number_of_employees\nz,2,7,3\nx,0,7,3\n"


def send(
    client: FlaskClient, path: str, content: bytes, name: str = "mine.csv", **fields: str
) -> TestResponse:
    """Send a file as a form does."""
    form = {"table": (io.BytesIO(content), name), **fields}
    return client.post(
        f"/dashboard/{path}",
        data=form,
        headers={"Accept": "text/html", "Origin": "http://localhost"},
    )


def send_large(client: FlaskClient, path: str, content: bytes) -> TestResponse:
    """Send a file whose form would be a file of the test client's own, which it leaves open."""
    head = b'--b\r\nContent-Disposition: form-data; name="table"; filename="a.csv"\r\n\r\n'
    return client.post(
        f"/dashboard/{path}",
        data=head + content + b"\r\n--b--\r\n",
        content_type="multipart/form-data; boundary=b",
        headers={"Accept": "text/html", "Origin": "http://localhost"},
    )


def names_in(folder: Path) -> set[str]:
    """List the names of everything in a folder and below."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_good_table_is_added_as_it_was_sent(client: FlaskClient, config: Config) -> None:
    before = names_in(config.input_folder_path)

    response = send(client, "upload", GOOD)

    (added,) = names_in(config.input_folder_path) - before
    assert response.status_code == 201
    assert f"<code>{added}</code>" in response.text
    assert "Added 2 rows" in response.text
    assert artifacts.is_stamp(added.removeprefix("upload_").removesuffix(".csv"))
    assert (config.input_folder_path / added).read_bytes() == GOOD


@pytest.mark.parametrize(
    ("name", "day", "said"),
    [
        ("Kunden März 2026.csv", "2026-03-31", "as of 31 Mar 2026, the day in its name"),
        ("clients_2026-02-05.csv", "2026-02-05", "as of 5 Feb 2026, the day in its name"),
        ("mine.csv", "", "as of today: its name has no day"),
    ],
)
def test_an_upload_has_the_day_in_its_name_and_the_page_says_so(
    config_path: Path, name: str, day: str, said: str
) -> None:
    edit_config(
        config_path, test_data_path=None,
        schema={
            "key": "corporation", "date": "file_name", "numeric": ["lastmonth_activity"],
            "categorical": [],
        },
        outcomes={"input_folder_path": "left", "date": "left_on", "horizon_days": 30},
    )  # fmt: skip
    config = read_config(config_path)
    client = create_app(config_path).test_client()
    before = names_in(config.input_folder_path)

    page = client.get("/dashboard/upload", headers={"Accept": "text/html"}).text
    response = send(client, "upload", b"corporation,lastmonth_activity\nacme,3\n", name)

    (added,) = names_in(config.input_folder_path) - before
    assert added.endswith(f"Z_{day}.csv" if day else "Z.csv")
    assert said in response.text
    assert "else as of today" in page
    assert "<code>lastmonth_activity</code>." in page


BAD = [
    b"", b"\n", b"a,b\n1,2\n", f"{HEADER}\n".encode(), f"{HEADER}\nacme,x,1,2,1\n".encode(),
    f"{HEADER}\nacme,1,1,2,7\n".encode(), f"{HEADER}\nacme,1,1,2\n".encode(),
    f"{HEADER}\ngood,1,1,2,1\nacme,1,1,-2,1\n".encode(), GOOD + b"\xff\n",
    GOOD.decode().encode("utf-16"), b"\x1f\x8b\x08\x00", b"PK\x03\x04", GOOD + b"a\x00b,1,1,1,1\n",
    f"{HEADER},{HEADER}\n".encode(), b"<script>alert(1)</script>", b"=cmd|' /C calc'!A0\n",
]  # fmt: skip


@pytest.mark.parametrize("content", BAD)
def test_a_table_with_a_fault_is_not_added_at_all(
    client: FlaskClient, tmp_path: Path, content: bytes
) -> None:
    before = tree_hash(tmp_path)

    response = send(client, "upload", content)

    assert response.status_code == 422
    assert "cannot be used" in response.text
    assert tree_hash(tmp_path) == before


def test_the_page_lists_the_faults_with_their_lines(client: FlaskClient) -> None:
    content = f"{HEADER}\nok,1,2,3,1\nacme,<b>,1,2,1\nzeta,1,1,2,9\n".encode()

    text = send(client, "upload", content).text

    assert "2 of 3 rows cannot be right" in text
    assert '<th scope="row" data-label="Line">3</th><td data-label="Column">lastmonth_act' in text
    assert "&#39;&lt;b&gt;&#39;" in text
    assert "<b>'" not in text


def hostile_names() -> list[str]:
    """Make a hundred names of files that must not matter."""
    bases = [
        "../../evil.csv", "/etc/cron.d/evil", "..\\..\\evil.csv", "a.csv", "b.csv", ".hidden.csv",
        "con.csv", "evil.csv\x00.png", "x" * 5000 + ".csv", "é.csv", "<script>alert(1)</script>",
        "'; rm -rf / #.csv", "$(touch evil).csv", "`touch evil`.csv", "evil.csv%0d%0aX-Evil: 1",
        "%2e%2e%2fevil.csv", "....//evil.csv", "~/evil.csv", "C:\\evil.csv", "file:///evil.csv",
    ]  # fmt: skip
    return [prefix + base for base in bases for prefix in ("", "input/", "../", "\u202e", " ")]


def test_no_name_escapes_or_overwrites(client: FlaskClient, config: Config, tmp_path: Path) -> None:
    names = hostile_names()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    for number, name in enumerate(names):
        content = GOOD + f"n{number},1,2,3,1\n".encode()
        assert send(client, "upload", content, name).status_code == 201, name

    now = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    made = set(now) - set(before) - {config.prod_deployment_path / files.LOCK}
    assert len(names) == 100
    assert len(made) == 100
    assert {path.parent for path in made} == {config.input_folder_path}
    assert all(path.name.startswith("upload_") and path.suffix == ".csv" for path in made)
    assert {path: now[path] for path in before} == before


def test_ten_at_the_same_time_are_all_added_whole(config_path: Path, config: Config) -> None:
    app = create_app(config_path)
    contents = [GOOD + f"n{number},1,2,3,1\n".encode() * 500 for number in range(10)]
    edit_config(config_path, schema={"ids": ["corporation"], "target": "exited", "positive": 1,
                "numeric": ["lastmonth_activity", "lastyear_activity", "number_of_employees"],
                "categorical": []})  # fmt: skip
    before = set(config.input_folder_path.iterdir())

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda c: send(app.test_client(), "upload", c), contents))

    made = set(config.input_folder_path.iterdir()) - before
    assert [answer.status_code for answer in answers] == [201] * 10
    assert sorted(path.read_bytes() for path in made) == sorted(contents)


def test_while_a_run_is_at_work_nothing_is_added(
    client: FlaskClient, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCK_WAIT_S", 0.1)
    before = names_in(config.input_folder_path)

    with files.exclusive_lock(config.prod_deployment_path):
        response = send(client, "upload", GOOD)

    assert response.status_code == 503
    assert "A run is at work" in response.text
    assert response.headers["Retry-After"] == "10"
    assert names_in(config.input_folder_path) == before


def test_a_lock_that_comes_free_is_waited_for(config: Config) -> None:
    found, _ = upload.read_table(GOOD, config.schema, 10, needs_label=False)

    with ThreadPoolExecutor(1) as threads:
        with files.exclusive_lock(config.prod_deployment_path):
            waiting = threads.submit(upload.publish, config, GOOD, found, "ada", erased=None)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        assert waiting.result(timeout=files.LOCK_WAIT_S).read_bytes() == GOOD


def test_what_a_killed_upload_left_is_removed(client: FlaskClient, config: Config) -> None:
    leftover = config.input_folder_path / ".upload_20250101T000000000000Z.csv.tmp"
    leftover.write_bytes(b"half")

    send(client, "upload", GOOD)

    assert not leftover.exists()


def test_a_full_disk_leaves_nothing(
    client: FlaskClient, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names_in(config.input_folder_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    response = send(client, "upload", GOOD)

    assert response.status_code == 507
    assert "The disk of the service is full; nothing was added." in response.text
    assert names_in(config.input_folder_path) == before


def test_before_the_first_run_of_a_table_that_is_found_out_nothing_can_be_checked(
    config_path: Path, config: Config
) -> None:
    edit_config(config_path, schema={"target": "Churn", "positive": "Yes"})

    response = send(create_app(config_path).test_client(), "upload", GOOD)

    assert response.status_code == 409
    assert "not known before the first run" in response.text


def test_nothing_is_added_to_an_object_store(config_path: Path, tmp_path: Path) -> None:
    engine = {"name": "spark", "master": "spark://127.0.0.1:1"}
    edit_config(config_path, input_folder_path="s3a://lake/in", engine=engine)
    client = create_app(config_path).test_client()
    before = tree_hash(tmp_path)

    response = send(client, "upload", GOOD)

    assert response.status_code == 409
    assert "The input is in an object store, s3a://lake/in, into which" in response.text
    assert "with the store&#39;s own tools" in response.text
    assert 'action="/dashboard/upload"' not in client.get("/dashboard/upload").text
    assert tree_hash(tmp_path) == before


def test_what_was_not_read_well_is_not_published(config: Config) -> None:
    found, _ = upload.read_table(b"a,b\n", config.schema, 10)

    with pytest.raises(DatasetError, match="nothing was added"):
        upload.publish(config, b"a,b\n", found, "ada", erased=None)


def test_a_table_is_ranked_once_and_not_kept(client: FlaskClient, tmp_path: Path) -> None:
    before = tree_hash(tmp_path)

    response = send(client, "rank", TABLE)

    text = response.text
    assert response.status_code == 200
    assert "2 clients ranked with release 0001_" in text
    assert text.index(">x</th>") < text.index(">z</th>")
    assert "75.0%" in text
    assert "25.0%" in text
    assert tree_hash(tmp_path) == before


def test_a_ranking_can_be_downloaded_and_has_the_numbers_of_predict(client: FlaskClient) -> None:
    response = send(client, "rank", TABLE.replace(b"x,0", b"=1+1,0"), **{"as": "csv"})

    lines = response.text.split("\r\n")
    rows = [{"lastmonth_activity": m, "lastyear_activity": 7, "number_of_employees": 3}
            for m in (0, 2)]  # fmt: skip
    probabilities = answer_of(client.post("/predict", json={"data": rows}))["probabilities"]
    assert response.headers["Content-Disposition"] == 'attachment; filename="ranked.csv"'
    assert lines[1].startswith(f"1,'=1+1,{probabilities[0]!r},high")
    assert lines[2].startswith(f"2,z,{probabilities[1]!r},low")


def test_rows_that_cannot_be_right_are_named_beside_the_ranking(client: FlaskClient) -> None:
    response = send(client, "rank", TABLE + b"bad,?,1,1\n")

    assert response.status_code == 200
    assert "2 clients ranked" in response.text
    assert "Rows that cannot be right" in response.text


@pytest.mark.parametrize("content", [b"", b"a\n1\n", TABLE.splitlines()[0], b"\xff\xfe"])
def test_a_table_without_a_usable_row_is_not_ranked(client: FlaskClient, content: bytes) -> None:
    response = send(client, "rank", content)

    assert response.status_code == 422
    assert "cannot be used" in response.text


def test_too_many_rows_are_refused_before_they_are_read(
    client: FlaskClient, config_path: Path
) -> None:
    edit_config(config_path, api={"max_rows": 2})

    assert send(client, "rank", TABLE).status_code == 200
    refused = send(client, "rank", TABLE + b"y,1,7,3\n")
    assert "more than 2 rows" in refused.text


def test_a_body_above_the_limit_is_refused_on_a_page(
    client: FlaskClient, config_path: Path
) -> None:
    edit_config(config_path, api={"max_body_bytes": 2000})

    response = send(client, "upload", b"x" * 3000)

    assert response.status_code == 413
    assert response.content_type.startswith("text/html")


def test_without_a_file_or_a_release_the_page_says_so(
    client: FlaskClient, config_path: Path, tmp_path: Path
) -> None:
    missing = client.post("/dashboard/rank", data={"table": "no file"})
    edit_config(config_path, prod_deployment_path="elsewhere")
    nothing = send(create_app(config_path).test_client(), "rank", TABLE)

    assert (missing.status_code, nothing.status_code) == (422, 503)
    assert "Choose a CSV file first." in missing.text
    assert "run python -m scripts.fullprocess" in nothing.text


def test_neither_log_nor_error_has_a_client(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    for path in ("upload", "rank"):
        send(client, path, GOOD.replace(b"acme", b"CANARY-7") + b"CANARY-8,x,1,1,1\n", "CANARY-9")

    assert "CANARY" not in caplog.text


def test_a_form_needs_no_disk(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", fail)
    rows = b"".join(b"n%d,1,2,3,1\n" % number for number in range(100_000))

    assert send_large(client, "upload", GOOD + rows).status_code == 201


def test_a_folder_that_cannot_be_written_is_said(
    client: FlaskClient, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.link", fail)

    response = send(client, "upload", GOOD)

    assert response.status_code == 503
    assert "The input folder cannot be written; nothing was added." in response.text


def test_a_table_is_added_beside_a_file_of_the_last_year(
    client: FlaskClient, config: Config
) -> None:
    (config.input_folder_path / "upload_99991231T235959999999Z.csv").write_bytes(GOOD)

    assert send(client, "upload", GOOD).status_code == 201
    assert send(client, "upload", GOOD + b"other,1,2,3,1\n").status_code == 201


def test_of_a_table_with_a_thousand_faults_the_rest_is_not_read(client: FlaskClient) -> None:
    content = f"{HEADER}\n".encode() + b'"a\n' * 300_000
    started = time.process_time()

    response = send_large(client, "upload", content)

    assert time.process_time() - started < 5
    assert response.status_code == 422
    assert "1001 of its first 1001 rows cannot be right; the first: line 2" in response.text


def test_open_quotes_of_long_lines_are_each_looked_at_once(client: FlaskClient) -> None:
    content = f"{HEADER}\n".encode() + (b'a,"' + b"x" * 10_000 + b"\n") * 300
    started = time.process_time()

    response = send_large(client, "upload", content)

    assert time.process_time() - started < 5
    assert response.status_code == 422


def test_what_waits_for_the_next_run_has_a_limit(
    client: FlaskClient, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "MAX_PENDING_FILES", 2)
    more = [GOOD + f"n{number},1,2,3,1\n".encode() for number in range(4)]

    statuses = [send(client, "upload", content).status_code for content in more]
    refused = send(client, "upload", more[2])
    ingestion.main(config)
    after = send(client, "upload", more[2])

    assert statuses == [201, 201, 409, 409]
    assert "2 uploads of" in refused.text
    assert "wait for the next run" in refused.text
    assert after.status_code == 201


def test_the_bytes_that_wait_have_a_limit_too(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "MAX_PENDING_BYTES", 2 * len(GOOD))

    statuses = [send(client, "upload", GOOD + b"\n" * k).status_code for k in range(2)]

    assert statuses == [201, 409]


@pytest.mark.parametrize("path", ["upload", "rank"])
def test_a_table_with_an_erased_client_is_not_added_and_the_client_is_not_ranked(
    client: FlaskClient, config: Config, path: str
) -> None:
    key = keys.make_key(config.prod_deployment_path)
    erased_clients.write_list(
        config.prod_deployment_path, [erased_clients.hash_client(key, "zeta")]
    )
    before = names_in(config.input_folder_path)

    response = send(client, path, GOOD)

    assert "its client was erased" in response.text
    assert "900" not in response.text
    assert names_in(config.input_folder_path) == before


@pytest.mark.parametrize("order", ["erased", "readmitted"])
def test_a_client_erased_between_the_look_and_the_lock_does_not_come_into_the_input_folder(
    client: FlaskClient, config: Config, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    folder, publish = config.prod_deployment_path, upload.publish
    hashes = [erased_clients.hash_client(keys.make_key(folder), "zeta")]
    erased_clients.write_list(folder, hashes if order == "readmitted" else [])
    before = names_in(config.input_folder_path)

    def publish_late(*arguments: Any, **options: Any) -> Path:
        """Add the table as if an erasure had ended just before."""
        erased_clients.write_list(folder, [*hashes, "f" * 16])
        return publish(*arguments, **options)

    monkeypatch.setattr(upload, "publish", publish_late)

    response = send(client, "upload", GOOD if order == "erased" else GOOD.replace(b"zeta", b"eta"))

    assert response.status_code == 503
    assert "A client was erased meanwhile; nothing was added" in response.text
    assert names_in(config.input_folder_path) == before
