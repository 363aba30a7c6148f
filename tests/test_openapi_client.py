"""A client that a program writes from the description works against the service."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.core.config_file import read_config
from tests.support.clientele import score_twice
from tests.support.service import TOKEN, make_row, served

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def url(config_path: Path) -> Iterator[str]:
    """A service that wants a token, and whose clients have been scored twice."""
    score_twice(read_config(config_path))
    with served(config_path, TOKEN) as (address, _):
        yield address


@pytest.fixture
def made(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Generate a client from the description, and return the package's name."""
    content = requests.get(f"{url}/openapi.json", headers=HEADERS, timeout=10).content
    (tmp_path / "openapi.json").write_bytes(content)
    # JSON is YAML; nothing is formatted.
    (tmp_path / "settings.yml").write_text(json.dumps({"post_hooks": []}))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    command += [
        "--path",
        "openapi.json",
        "--output-path",
        "made_client",
        "--config",
        "settings.yml",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    return "made_client"


def test_a_client_made_from_the_description_works(url: str, made: str) -> None:
    def load(name: str) -> Any:
        return importlib.import_module(f"{made}.{name}")

    models = load("models")
    client = load("client").AuthenticatedClient(url, TOKEN, raise_on_unexpected_status=True)
    row = models.Row.from_dict(make_row(0))
    tensors = [
        models.InferenceTensor.from_dict(
            {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
        )
        for name, value in make_row(0).items()
    ]
    table = {"columns": list(make_row()), "data": [list(make_row(0).values())]}
    split = models.SplitBody.from_dict({"dataframe_split": table})

    body = models.RowsBody(data=[row])
    with client:
        predicted = load("api.predictions.predict").sync(client=client, body=body)
        invoked = load("api.mlflow.invocations").sync(client=client, body=split)
        inferred = load("api.inference.v2_models_model_infer").sync(
            "adras", client=client, body=models.InferenceRequest(inputs=tensors)
        )
        health = load("api.service.health").sync(client=client)
        worklist = load("api.clients.worklist").sync(client=client)
        details = load("api.clients.clients_client").sync("x", client=client)
        missing = load("api.clients.clients_client").sync("nobody", client=client)

    assert predicted.predictions == invoked.predictions == inferred.outputs[0].data == [1]
    assert predicted.probabilities == pytest.approx([1 / 2])
    assert health.ready
    assert isinstance(worklist.scored_at, datetime)
    assert worklist.scored_at.utcoffset() == UTC.utcoffset(None)
    assert isinstance(details, models.ClientDetails)
    assert details.last.scored_at == worklist.scored_at
    assert (missing.status, missing.title) == (404, "Not Found")


def test_moments_are_described_as_such_and_groups_have_names(url: str) -> None:
    described = requests.get(f"{url}/openapi.json", headers=HEADERS, timeout=10).json()

    moments = {
        f"{name}.{member}": schema
        for name, parts in described["components"]["schemas"].items()
        for member, schema in parts.get("properties", {}).items()
        if member == "at" or member.endswith("_at")
    }
    assert len(moments) >= 12
    for name, schema in moments.items():
        kinds = schema.get("anyOf", [schema])
        assert "date-time" in [kind.get("format") for kind in kinds], name
    operations = [op for path in described["paths"].values() for op in path.values()]
    tags = {tag["name"] for tag in described["tags"]}
    assert {tag for operation in operations for tag in operation["tags"]} == tags
    assert all(tag["description"] for tag in described["tags"])
    assert all(operation["description"] for operation in operations)
    assert (
        not {"Client", "AuthenticatedClient", "Response"}
        & described["components"]["schemas"].keys()
    )
