"""Clients of the open inference protocol, version 2, are answered unchanged, and strictly."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts.api import prediction_log
from scripts.api.inference_protocol import HEADER_LENGTH
from scripts.app import create_app
from tests.support.service import (
    FEATURES,
    FIRST,
    TOKEN,
    answer_of,
    edit_config,
    make_model,
    make_row,
    predict,
    problem_of,
    served,
    switch,
    write_release,
)

# Asks as a program of the library's users does, in a process of its own.
TRITON = """
import json, sys
import numpy as np
import tritonclient.http as triton

address, names, token = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
client = triton.InferenceServerClient(address)
headers = {"Authorization": f"Bearer {token}"}
table = np.array([[0, 7, 3], [2, 7, 3]], np.float64)

def make(name, array, datatype, binary):
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor

def ask(tensors, *outputs, binary=True):
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in outputs]
    # The library adds to the headers that it is given.
    sent = dict(headers)
    return client.infer("adras", tensors, outputs=wanted or None, headers=sent, request_id="7")

columns = [make(name, table[:, [k]], "FP64", k != 1) for k, name in enumerate(names)]
whole = [make(name, table[:, [k]].astype(np.int32), "INT32", True) for k, name in enumerate(names)]
both = ask([make("x", table, "FP64", True)], "predict_proba", "risk_band")
text = ask(columns, "predict_proba", "risk_band", binary=False)
try:
    ask([make("x", -table, "FP64", True)])
    refused = ""
except triton.InferenceServerException as error:
    refused = error.message()
try:
    client.get_model_metadata("adras")
    unknown = ""
except triton.InferenceServerException as error:
    unknown = error.message()
json.dump(
    {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model ready": client.is_model_ready("adras", headers=headers),
        "server": client.get_server_metadata(headers=headers)["name"],
        "inputs": client.get_model_metadata("adras", headers=headers)["inputs"],
        "default": ask(columns).as_numpy("predict").tolist(),
        "id": ask(columns).get_response()["id"],
        "json": ask([make("x", table, "FP64", False)]).as_numpy("predict").tolist(),
        "whole": ask(whole).as_numpy("predict").tolist(),
        "probabilities": both.as_numpy("predict_proba")[:, 1].tolist(),
        "bands": [band.decode() for band in both.as_numpy("risk_band").ravel()],
        "as text": text.as_numpy("predict_proba").tolist(),
        "bands as text": text.as_numpy("risk_band").ravel().tolist(),
        "refused": refused,
        "without a token": unknown,
    },
    sys.stdout,
)
"""
NAMES = list(FEATURES)
PATH = "/v2/models/adras/infer"


def make_tensor(data: Any, *shape: int, datatype: str = "FP64", name: str = "x") -> dict[str, Any]:
    """Make a tensor as JSON."""
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": data}


def make_columns(**datatypes: str) -> list[dict[str, Any]]:
    """Make the tensors of two clients, one per column."""
    cells = zip(NAMES, ([0, 2], [7, 7], [3, 3]), strict=True)
    return [make_tensor(c, 2, name=n, datatype=datatypes.get(n, "INT64")) for n, c in cells]


def infer(client: FlaskClient, *inputs: dict[str, Any], **members: Any) -> TestResponse:
    """Ask for predictions, with the tensors as JSON."""
    return client.post(PATH, json={"inputs": inputs} | members)


def outputs_of(response: TestResponse) -> dict[str, Any]:
    """Read the data of each output."""
    return {output["name"]: output["data"] for output in answer_of(response)["outputs"]}


def post_binary(client: FlaskClient, head: dict[str, Any], content: bytes) -> TestResponse:
    """Ask with bytes after the JSON."""
    spelled = json.dumps(head).encode()
    headers = {HEADER_LENGTH: str(len(spelled))}
    return client.post(PATH, data=spelled + content, headers=headers)


def make_head(n_bytes: int, *shape: int, datatype: str = "FP64") -> dict[str, Any]:
    """Make a request of one binary tensor."""
    parameters = {"binary_data_size": n_bytes}
    tensor = {"name": "x", "shape": list(shape), "datatype": datatype, "parameters": parameters}
    return {"inputs": [tensor]}


def test_a_client_of_triton_works_unchanged(prod: Path, config_path: Path) -> None:
    with served(config_path, TOKEN) as (url, _):
        done = subprocess.run(
            [sys.executable, "-c", TRITON, url.removeprefix("http://"), ",".join(NAMES), TOKEN],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "`errors` lists those of the first" in found.pop("refused")
    assert found == {
        "live": True,
        "ready": True,
        "model ready": True,
        "server": "adras",
        "inputs": [{"name": n, "datatype": "FP64", "shape": [-1, 1]} for n in NAMES],
        "default": [[1], [0]],
        "id": "7",
        "json": [[1], [0]],
        "whole": [[1], [0]],
        "probabilities": pytest.approx([3 / 4, 1 / 4]),
        "bands": ["high", "low"],
        "as text": [pytest.approx([1 / 4, 3 / 4]), pytest.approx([3 / 4, 1 / 4])],
        "bands as text": ["high", "low"],
        "without a token": "Expected the header Authorization: Bearer <token>.",
    }


@pytest.mark.parametrize(
    "inputs",
    [
        [make_tensor([0, 7, 3, 2, 7, 3], 2, 3)],
        [make_tensor([[0, 7, 3], [2, 7, 3]], 2, 3, datatype="FP32")],
        [make_tensor([[0, 7, 3.0], [2, 7, 3]], 2, 3, datatype="FP16")],
        make_columns(),
        make_columns()[::-1],
        make_columns(lastyear_activity="UINT8", number_of_employees="FP64"),
        [make_tensor([[v] for v in t["data"]], 2, 1, name=t["name"]) for t in make_columns()],
        [*make_columns(), make_tensor(["a", "b"], 2, name="corporation", datatype="BYTES")],
    ],
)
def test_tensors_are_predicted_as_rows_are(client: FlaskClient, inputs: Any) -> None:
    wanted = [{"name": name} for name in ("risk_band", "predict", "predict_proba")]
    rows = answer_of(predict(client, make_row(0), make_row(2)))

    answer = answer_of(infer(client, *inputs, outputs=wanted))
    found = {output["name"]: output["data"] for output in answer["outputs"]}

    assert list(found) == ["risk_band", "predict", "predict_proba"]
    assert found["predict"] == rows["predictions"]
    assert found["predict_proba"][1::2] == rows["probabilities"]
    assert found["risk_band"] == rows["risk_bands"]
    assert answer["model_name"] == "adras"
    assert answer["model_version"] == FIRST


def test_without_outputs_the_class_of_each_row_is_answered(client: FlaskClient) -> None:
    answer = answer_of(infer(client, *make_columns(), id="q"))

    assert answer == {
        "model_name": "adras",
        "model_version": FIRST,
        "id": "q",
        "outputs": [{"name": "predict", "datatype": "INT64", "shape": [2, 1], "data": [1, 0]}],
    }


def test_null_is_a_blank_in_a_tensor(client: FlaskClient) -> None:
    response = infer(client, make_tensor([None, 7, 3], 1, 3), outputs=[{"name": "predict_proba"}])

    # The median is 1.
    assert outputs_of(response)["predict_proba"] == pytest.approx([1 / 2, 1 / 2])


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16", "INT8", "UINT64"])
def test_bytes_are_predicted_as_rows_are(client: FlaskClient, datatype: str) -> None:
    kind = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "INT8": "<i1", "UINT64": "<u8"}[datatype]
    content = np.array([[0, 7, 3], [2, 7, 3]], kind).tobytes()

    head = make_head(len(content), 2, 3, datatype=datatype)

    assert outputs_of(post_binary(client, head, content)) == {"predict": [1, 0]}


@pytest.fixture
def worded(config_path: Path) -> FlaskClient:
    """A client of a service whose model has numbers and a category."""
    write_release(config_path.parent / "prod", FIRST, make_model(categorical=True))
    switch(config_path.parent / "prod", FIRST)
    return create_app(config_path).test_client()


def test_texts_are_tensors_of_bytes(worded: FlaskClient) -> None:
    plan = make_tensor([" gold ", "iron"], 2, name="plan", datatype="BYTES")

    answer = answer_of(infer(worded, *make_columns(), plan, outputs=[{"name": "predict_proba"}]))

    # The odds are 3 * 3 with gold; iron is new, and adds nothing to a ninth of 3.
    assert answer["outputs"][0]["data"][1::2] == pytest.approx([9 / 10, 1 / 4])
    (unknown,) = json.loads(answer["parameters"]["unknown_categories"])
    assert (unknown["row"], unknown["column"], unknown["found"]) == (1, "plan", "iron")


def test_texts_may_be_bytes_after_the_json(worded: FlaskClient) -> None:
    content = b"".join(len(word).to_bytes(4, "little") + word for word in (b"gold", "ñ".encode()))
    plan = make_tensor(None, 2, name="plan", datatype="BYTES")
    del plan["data"]
    head = {"inputs": [*make_columns(), plan | {"parameters": {"binary_data_size": len(content)}}]}

    assert outputs_of(post_binary(worded, head, content)) == {"predict": [1, 0]}
    for broken in (content[:-1], content[:6], b"\xff\xff\xff\xff" + content[4:]):
        head["inputs"][3]["parameters"]["binary_data_size"] = len(broken)
        problem = problem_of(post_binary(worded, head, broken), 422)
        assert problem["detail"] == "The bytes of the tensor plan are not BYTES values."


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([], "length >= 1"),
        ([make_tensor([0, 7, 3], 2, 3)], "has 3 values; its shape [2, 3] wants 6"),
        ([make_tensor([[0, 7, 3], [0, 7]], 2, 3)], "rows of other lengths than its shape"),
        ([make_tensor([0, 7], 1, 2)], "has 2 columns; expected 3, in the order lastmonth_activity"),
        ([make_tensor([], 0, 3)], "0 rows; expected at least one"),
        ([make_tensor([0] * 12, 4, 3)], "4 rows; expected at most 3"),
        ([make_tensor([0, 7, 3], 1, 1, 3)], "length <= 2"),
        ([make_tensor([0, 7, 3], -1, 3)], ">= 0"),
        ([make_tensor([0, 7, 3], 1, 3, datatype="FP128")], "Invalid enum value"),
        ([make_tensor([True, False, True], 1, 3, datatype="BOOL")], "has the datatype BOOL"),
        ([make_tensor(["0", "7", "3"], 1, 3, datatype="BYTES")], "has the datatype BYTES"),
        ([make_tensor(7, 1, 3)], "cannot be read"),
        (make_columns()[:2], "lacks the columns number_of_employees"),
        ([*make_columns(), make_columns()[0]], "more than once: lastmonth_activity"),
        ([*make_columns()[:2], make_tensor([3], 1, name=NAMES[2])], "expected [2] or [2, 1]"),
        ([*make_columns()[:2], make_tensor([3, 3], 1, 2, name=NAMES[2])], "expected [2] or"),
        ([{k: v for k, v in make_tensor([], 1, 3).items() if k != "data"}], "data or bytes"),
    ],
)
def test_what_are_no_tensors_of_these_columns_is_refused(
    client: FlaskClient, config_path: Path, inputs: Any, told: str
) -> None:
    edit_config(config_path, api={"max_rows": 3})

    problem = problem_of(infer(client, *inputs), 422)

    assert told in problem["detail"]
    # Where clients of this protocol look for it.
    assert problem["error"] == problem["detail"]


@pytest.mark.parametrize(
    ("value", "datatype", "found", "expected"),
    [
        ("7", "FP64", '"7"', "a number or null"),
        (True, "INT64", "true", "a number or null"),
        (-1, "FP32", "-1", "a number of at least 0"),
        (2**53 + 2, "INT64", "9007199254740994", "a number from -2**53 to 2**53"),
        (1.5, "INT64", "1.5", "a value of INT64"),
        (300, "UINT8", "300", "a value of UINT8"),
        ([7], "FP64", "an array", "a number or null"),
    ],
)
def test_a_wrong_value_in_a_tensor_is_named_with_its_row(
    client: FlaskClient, value: Any, datatype: str, found: str, expected: str
) -> None:
    inputs = make_columns()
    inputs[1] |= {"data": [7, value], "datatype": datatype}
    matrix = make_tensor([0, 7, 3, 2, value, 3], 2, 3, datatype=datatype)

    for sent in (inputs, [matrix]):
        (fault,) = problem_of(infer(client, *sent), 422)["errors"]
        assert (fault["row"], fault["column"]) == (1, NAMES[1])
        assert (fault["found"], fault["expected"]) == (found, expected)


@pytest.mark.parametrize(("value", "found"), [(np.nan, '"NaN"'), (-np.inf, '"-Infinity"')])
def test_bytes_that_are_no_number_are_refused(
    client: FlaskClient, value: float, found: str
) -> None:
    content = np.array([[0, 7, 3], [0, value, 3]]).tobytes()

    problem = problem_of(post_binary(client, make_head(48, 2, 3), content), 422)

    (fault,) = problem["errors"]
    assert (fault["row"], fault["column"], fault["found"]) == (1, NAMES[1], found)


@pytest.mark.parametrize(
    ("n_bytes", "sent", "told"),
    [
        (24, 16, "16 bytes follow the JSON; its tensors have 24 bytes"),
        (24, 32, "32 bytes follow the JSON"),
        (16, 16, "has 2 values; its shape [1, 3] wants 3"),
        (23, 23, "are not FP64 values"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(
    client: FlaskClient, n_bytes: int, sent: int, told: str
) -> None:
    problem = problem_of(post_binary(client, make_head(n_bytes, 1, 3), bytes(sent)), 422)

    assert told in problem["detail"]


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "999999"])
def test_a_wrong_length_of_the_json_is_refused(client: FlaskClient, length: str) -> None:
    response = client.post(PATH, data=b"{}", headers={HEADER_LENGTH: length})

    assert HEADER_LENGTH in problem_of(response, 400)["detail"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "told"),
    [
        (b'{"inputs": [NaN]}', "", 400, "neither NaN nor Infinity"),
        (b"\xff", "application/json", 400, "not JSON"),
        (b"[]", "application/json", 422, "Expected an inference request"),
        (b"{}", "text/csv", 415, "Expected the content type application/json"),
    ],
)
def test_what_is_no_request_is_refused(
    client: FlaskClient, body: bytes, content_type: str, status: int, told: str
) -> None:
    response = client.post(PATH, data=body, content_type=content_type or None)

    assert told in problem_of(response, status)["detail"]


@pytest.mark.parametrize("names", [["probabilities"], ["predict", "predict"]])
def test_other_outputs_are_refused(client: FlaskClient, names: list[str]) -> None:
    response = infer(client, *make_columns(), outputs=[{"name": name} for name in names])

    assert "predict, predict_proba, risk_band" in problem_of(response, 422)["detail"]


def test_the_model_has_the_name_of_the_configuration(
    client: FlaskClient, config_path: Path
) -> None:
    edit_config(config_path, api={"model_name": "churn"})

    assert answer_of(client.get("/v2/models/churn"))["name"] == "churn"
    assert answer_of(client.get("/v2/models/churn/ready")) == {"name": "churn", "ready": True}
    answer = answer_of(client.post("/v2/models/churn/infer", json={"inputs": make_columns()}))
    assert answer["model_name"] == "churn"
    for response in (
        infer(client, *make_columns()),
        client.get("/v2/models/adras"),
        client.get("/v2/models/adras/ready"),
    ):
        assert "expected churn" in problem_of(response, 404)["error"]


def test_before_the_first_release_the_service_lives_and_is_not_ready(config_path: Path) -> None:
    client = create_app(config_path).test_client()

    assert answer_of(client.get("/v2/health/live")) == {"live": True}
    for path in ("/v2/health/ready", "/v2/models/adras", "/v2/models/adras/ready"):
        assert "fullprocess" in problem_of(client.get(path), 503)["error"]
    problem_of(infer(client, *make_columns()), 503)


def test_only_the_health_is_told_without_a_token(guarded: FlaskClient) -> None:
    assert answer_of(guarded.get("/v2/health/live")) == {"live": True}
    assert answer_of(guarded.get("/v2/health/ready")) == {"ready": True}
    for path in ("/v2", "/v2/models/adras", "/v2/models/adras/ready"):
        problem_of(guarded.get(path), 401)
    problem_of(infer(guarded, *make_columns()), 401)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer_of(guarded.post(PATH, json={"inputs": make_columns()}, headers=headers))


def test_rows_of_tensors_are_logged_and_counted_as_those_of_predict(
    prod: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_config(config_path, api={"log_predictions": 1.0})
    app, kept = create_app(config_path), list[prediction_log.LoggedRows]()
    log = app.extensions["middleware"].prediction_log
    monkeypatch.setattr(log, "add", lambda predicted, _: kept.append(predicted))
    client = app.test_client()
    ids = make_tensor(["a", "b"], 2, name="corporation", datatype="BYTES")

    answer_of(
        predict(client, make_row(0) | {"corporation": "a"}, make_row(2) | {"corporation": "b"})
    )
    answer_of(infer(client, *make_columns(), ids))

    rows = [[row | {"at": None} for row in prediction_log.format_rows(one)] for one in kept]
    assert rows[0] == rows[1]
    numbers = client.get("/metrics").text
    assert "adras_predicted_rows_total 4.0" in numbers
    assert 'route="/v2/models/{model}/infer",status="200"} 1.0' in numbers
