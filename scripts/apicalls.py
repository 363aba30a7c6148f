"""The API calls step: predictions, score, summary and diagnosis from the running service."""

import http.client
import logging
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import click
import msgspec

from scripts.api.headers import UNLOGGED
from scripts.api.tokens import read_tokens
from scripts.core import artifacts, console, files, terminal
from scripts.core.config import ApiSettings, Config
from scripts.core.errors import NoServiceError, ServiceUnavailableError
from scripts.data import dataset
from scripts.production.run_context import RunContext

JsonObject = dict[str, Any]
JsonRows = list[dict[str, Any]]
Headers = dict[str, str | bytes]
Response = tuple[int, str, bytes]
# The bytes of a body besides the rows: {"data":[ and ]}.
N_FRAME_BYTES = 11
PER_ROW = ("predictions", "probabilities", "risk_bands")

log = logging.getLogger(__name__)


def describe_refusal(content: bytes, phrase: str) -> str:
    """Return the detail of an error response, else the reason phrase."""
    try:
        return str(msgspec.json.decode(content)["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return phrase or "no reason given"


def send_request(config: Config, headers: Headers, path: str, body: bytes | None) -> Response:
    """Send a request, and return status, reason phrase and content of the response.

    No proxy of the environment is asked for a service on this machine, and no redirect is followed.

    Raises
    ------
    OSError
        If nothing answers.
    http.client.HTTPException
        If the answer is no HTTP.
    """
    place = urlsplit(config.api_url)
    connection = http.client.HTTPConnection(
        place.hostname or "", place.port, timeout=config.api.timeout_s
    )
    with closing(connection):
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.reason, response.read()


def call_endpoint(
    config: Config, headers: Headers, path: str, rows: JsonRows | None = None
) -> JsonObject:
    """Send a request to the service and return the JSON response.

    Parameters
    ----------
    config : Config
        With the address of the service and the time limit.
    headers : dict
        The headers, with the token.
    path : str
        The route.
    rows : list of dict, optional
        The rows of a POST request, with NaN sent as null. None for a GET request.

    Returns
    -------
    dict
        The response.

    Raises
    ------
    NoServiceError
        If no service answers at the address.
    ServiceUnavailableError
        If the response is an error or no JSON object.
    """
    url = f"{config.api_url}{path}"
    body = None if rows is None else msgspec.json.encode({"data": rows})
    try:
        status, phrase, content = send_request(config, headers, path, body)
    except (OSError, http.client.HTTPException) as error:
        raise NoServiceError(
            f"{url} does not answer ({type(error).__name__}); is the service running? Start it"
            " with python -m scripts.app."
        ) from error
    if status != http.client.OK:
        reason = describe_refusal(content, phrase)
        raise ServiceUnavailableError(f"{url} answered {status}: {reason}")
    try:
        return msgspec.json.decode(content, type=JsonObject)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServiceUnavailableError(
            f"{url} answers something other than a JSON object; does another program use the port?"
        ) from error


def split_rows(rows: JsonRows, api: ApiSettings) -> list[JsonRows]:
    """Split rows into requests within the service's limits of rows and bytes."""
    largest = max(len(msgspec.json.encode(row)) + 1 for row in rows)
    n_fitting = (api.max_body_bytes - N_FRAME_BYTES) // largest
    step = max(1, min(api.max_rows, n_fitting))
    return [rows[start : start + step] for start in range(0, len(rows), step)]


def request_predictions(config: Config, headers: Headers, rows: JsonRows) -> JsonObject:
    """Return the predictions of the service for every row, in several requests if necessary."""
    chunks = split_rows(rows, config.api)
    responses = [call_endpoint(config, headers, "/predict", chunk) for chunk in chunks]
    whole: JsonObject = responses[0] | {name: [] for name in PER_ROW}
    for chunk, part in zip(chunks, responses, strict=True):
        for name in PER_ROW:
            if len(part.get(name) or ()) != len(chunk):
                raise ServiceUnavailableError(
                    f"{config.api_url}/predict did not answer {len(chunk)} {name} for"
                    f" {len(chunk)} rows; does another program use the port?"
                )
            whole[name] += part[name]
    if any(part.get("release") != whole.get("release") for part in responses):
        raise ServiceUnavailableError("The release changed between two requests; run this again.")
    return whole


def make_headers(config: Config) -> Headers:
    """Return the headers of every request, with a token that may read."""
    # The test data is no traffic and would hide the real rows in the prediction log.
    headers: Headers = {"Content-Type": "application/json", UNLOGGED[0]: UNLOGGED[1]}
    token = read_tokens(config.api).any_for_reading
    return headers if token is None else headers | {"Authorization": b"Bearer " + token}


def main(config: Config, *, context: RunContext | None = None) -> Path:
    """Request predictions, score, summary and diagnosis, and write the responses to a file."""
    # The service expects the columns of the model in production.
    context = context or RunContext(config)
    current = context.current_release()
    schema = config.schema if current is None else current.model.schema
    table, _ = context.test_data.read(schema)
    # pandas types column names as hashable; the names of the schema are text.
    rows = cast("JsonRows", dataset.features(table, schema).to_dict(orient="records"))
    headers = make_headers(config)
    responses = {
        "predictions": request_predictions(config, headers, rows),
        "score": call_endpoint(config, headers, "/score"),
        "summary": call_endpoint(config, headers, "/summarise"),
        "diagnosis": call_endpoint(config, headers, "/diagnose"),
    }
    text = msgspec.json.format(msgspec.json.encode(responses), indent=2) + b"\n"
    path = files.write_whole(config.output_model_path / artifacts.API_RETURNS, text)
    name = responses["predictions"].get("release")
    log.info("Wrote the answers on %d rows of release %s to %s.", len(rows), name, path)
    return path


def describe_predictions(response: JsonObject) -> str:
    """Describe the predictions by number, expected exits and bands."""
    predicted, bands = response["predictions"], Counter[str](response["risk_bands"])
    n_leaving, n_rows = sum(map(int, predicted)), len(predicted)
    counts = ", ".join(f"{count} {band}" for band, count in bands.most_common())
    return f"{n_rows} rows, of which {n_leaving} are expected to leave ({counts})"


def describe_summary(response: JsonObject) -> list[str]:
    """Describe each column of the summary by mean, median and standard deviation."""
    columns = zip(response["columns"], *response["summary"], strict=True)
    return [
        f"{name}: {', '.join('none' if n is None else f'{n:.4g}' for n in numbers)}"
        for name, *numbers in columns
    ]


def describe_diagnosis(response: JsonObject) -> str:
    """Describe a diagnosis by the worst share of missing values, the times and the packages."""
    fractions = [share for share in response["missing_values"] if share is not None]
    times = ["not timed" if s is None else f"{s:.2f} s" for s in response["execution_time"]]
    packages = response["outdated_dependencies"].splitlines()
    n_outdated = f"{len(packages) - 1} outdated packages" if len(packages) > 1 else packages[0]
    return (
        f"at most {max(fractions, default=0.0):.1%} missing in a column, training {times[0]},"
        f" ingestion {times[1]}, {n_outdated}"
    )


def format_summary(responses: JsonObject, path: Path) -> str:
    """Format the responses with a line for each endpoint."""
    score = responses["score"]
    return terminal.format_columns(
        [
            ("release", str(score["release"])),
            ("predictions", describe_predictions(responses["predictions"])),
            ("score", f"F1 {score['score']:.4f} on the test data"),
            ("summary", "mean, median, standard deviation"),
            *(("", line) for line in describe_summary(responses["summary"])),
            ("diagnosis", describe_diagnosis(responses["diagnosis"])),
            ("answers", str(path)),
        ],
        has_header=False,
    )


def show_responses(config: Config) -> None:
    """Call every endpoint of the running service, write the responses, and print a summary."""
    path = main(config)
    click.echo(format_summary(msgspec.json.decode(path.read_bytes(), type=JsonObject), path))


if __name__ == "__main__":
    console.run_as_script(show_responses, exclusive=True)
