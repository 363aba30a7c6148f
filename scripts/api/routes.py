"""The table of the API's routes, and their views."""

import re
from pathlib import Path

import msgspec
from flask import Response, current_app, request

from scripts.api import (
    approval_routes,
    client_routes,
    inference_protocol,
    run_routes,
    work_routes,
)
from scripts.api.client_routes import CLIENT, LIST, LIST_CSV
from scripts.api.headers import UNLOGGED
from scripts.api.inference_protocol import (
    SERVER_NAME,
    VERSION,
    InferenceResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    answer_inference,
)
from scripts.api.middleware import RELEASE, SERVING, Environ
from scripts.api.openapi import PAGING, BodyKind, Operation, Parameter, Tag, describe
from scripts.api.predict import answer_prediction
from scripts.api.records_reader import RecordsReader
from scripts.api.responses import (
    JSON,
    Answer,
    Diagnosis,
    Health,
    Predictions,
    RefusedError,
    ReleaseEntry,
    Releases,
    RunEntry,
    Runs,
    Score,
    Summary,
    answer_json,
    answer_problem,
)
from scripts.api.routing import Lane, Route
from scripts.api.serving_state import ReleaseReloader, Serving
from scripts.api.telemetry import CONTENT_TYPE, Metrics
from scripts.api.tokens import Role
from scripts.clients.response_types import CallingEffect, ClientDetails, Outcomes, Worklist
from scripts.core import artifacts
from scripts.reports import chart_files

STATIC_FOLDER = Path(__file__).resolve().parents[1] / "dashboard" / "static"
STATIC_KINDS = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
TEXT = "text/plain"
MARKDOWN = "text/markdown; charset=utf-8"
NOT_MEASURED = "Not measured yet: run python -m scripts.diagnostics."

EXPLAIN = Parameter(
    "explain",
    "Split the log-odds of each row into contributions.",
    {"type": "boolean", "default": False},
)
LOGGED = Parameter(
    UNLOGGED[0],
    f"`{UNLOGGED[1]}` keeps the rows out of the prediction log, as a monitor should.",
    {"type": "string", "examples": [UNLOGGED[1]]},
    "header",
)
MODEL = (
    Parameter(
        "model",
        "The name of the model, api.model_name.",
        {"type": "string", "minLength": 1},
        "path",
    ),
)
REPORT = re.compile(r"report_(\d{8}T\d{12}Z)\.pdf")
NO_REPORT = "There is no report yet: run python -m scripts.reporting --pdf."

# A chart's name has a hash of the content, so the file can be cached for ever.
CHART = re.compile(r"[a-z0-9_]+-[0-9a-f]{8,64}\.svg")
# An SVG file has inline styles, and needs nothing else when opened by itself.
SVG_HEADERS = [
    ("Content-Type", "image/svg+xml"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("Cache-Control", "private, max-age=31536000, immutable"),
]
NO_CHART = "There is no such chart; it was drawn anew, or never."


def as_response(answer: Answer) -> Response:
    """Return Flask's response of an answer."""
    return Response(answer.body, answer.status, list(answer.headers))


def serving() -> Serving:
    """Return the config and release of the present request."""
    now: Serving = request.environ[SERVING]
    return now


def records_reader() -> RecordsReader:
    """Return the reader of the database of runs."""
    records: RecordsReader = current_app.extensions["records"]
    return records


def predict(environ: Environ, body: bytes) -> Answer:
    """Predict exits: {"data": [{column: value, ...}, ...]} in, predictions in this order out."""
    return answer_prediction(
        environ[SERVING],
        environ.get("QUERY_STRING", ""),
        environ.get("CONTENT_TYPE", ""),
        environ.get("HTTP_CONTENT_ENCODING", ""),
        body,
    )


def invocations(environ: Environ, body: bytes) -> Answer:
    """Predict exits by MLflow's scoring protocol: rows or columns in, arrays out."""
    return predict(environ, body)


def infer(environ: Environ, body: bytes) -> Answer:
    """Predict exits by the open inference protocol: tensors in, tensors out."""
    return answer_inference(environ[SERVING], environ["PATH_INFO"], environ, body)


def server_metadata() -> Answer:
    """Return the server's name and the supported extensions of the open inference protocol."""
    extensions = ["binary_tensor_data"]
    return answer_json(
        ServerMetadata(name=SERVER_NAME, version=VERSION, extensions=extensions),
        release=serving().release_name,
    )


def server_live() -> Answer:
    """Return the liveness by the open inference protocol, without a token."""
    return answer_json(ServerLive(live=True), release=serving().release_name)


def server_ready() -> Answer:
    """Return the readiness by the open inference protocol, without a token."""
    return answer_json(ServerReady(ready=True), release=serving().release_or_refuse().name)


def model_metadata(model: str) -> Answer:
    """Describe the input and output tensors of the model."""
    return inference_protocol.answer_metadata(serving(), model)


def model_ready(model: str) -> Answer:
    """Return the readiness of the model."""
    inference_protocol.check_name(serving(), model)
    release = serving().release_or_refuse()
    return answer_json(ModelReady(name=model, ready=True), release=release.name)


def ping() -> Answer:
    """Return the readiness for clients of MLflow, without a token."""
    release = serving().release_or_refuse()
    return Answer(200, b"\n", [("Content-Type", TEXT)], release.name)


def version() -> Answer:
    """Return the version of the API for clients of MLflow."""
    return Answer(200, VERSION.encode(), [("Content-Type", TEXT)], serving().release_name)


def score() -> Answer:
    """Return the F1 of the model in production on the test data."""
    release = serving().release_or_refuse()
    manifest = release.manifest
    return answer_json(
        Score(score=manifest.f1, release=release.name, model_stamp=manifest.model_stamp)
    )


def summarise() -> Answer:
    """Return means, medians and standard deviations of the columns of the dataset in production."""
    release = serving().release_or_refuse()
    columns = release.model.dataset.summary
    statistics = [
        [column.mean for column in columns],
        [column.median for column in columns],
        [column.standard_deviation for column in columns],
    ]
    names = [column.column for column in columns]
    return answer_json(Summary(summary=statistics, columns=names, release=release.name))


def diagnose() -> Answer:
    """Return missing values, execution times and outdated dependencies as last measured."""
    serving().release_or_refuse()
    path = serving().config.prod_deployment_path / artifacts.DIAGNOSTICS
    reloader: ReleaseReloader = current_app.extensions["reloader"]
    if reloader.fault():
        # Reading would wait for the same hanging disk, and a few requests would block all threads.
        raise RefusedError(503, reloader.fault())
    try:
        content = path.read_bytes()
        request.environ[RELEASE] = msgspec.json.decode(content, type=Diagnosis).release
    except FileNotFoundError as error:
        raise RefusedError(503, NOT_MEASURED) from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(
            503, "The measurements cannot be read: run python -m scripts.diagnostics again."
        ) from error
    return Answer(200, content, [("Content-Type", JSON)])


def state_of_health() -> Health:
    """Return the state of the service and the reasons for a degraded state."""
    now, records = serving(), records_reader()
    reasons = [*now.faults, *records.reasons()]
    age_s, at = records.last.age_s(), records.last.last_success_at
    return Health(
        live=True,
        ready=now.release is not None,
        degraded=bool(reasons),
        release=now.release_name,
        input_folder=now.config.input_folder_path.name,
        errors=reasons,
        last_successful_run_at=None if at is None else at.isoformat(),
        last_successful_run_age_s=None if age_s is None else round(age_s, 1),
    )


def health() -> Answer:
    """Return the health of the service, with 200 when ready and 503 otherwise, without a token."""
    state = state_of_health()
    # Monitors read the status. The body has the same members in both cases.
    if state.ready:
        return answer_json(state)
    return answer_problem(503, " ".join(serving().faults), **msgspec.structs.asdict(state))


def runs() -> Answer:
    """List the last runs of the full process, newest first."""
    entries, next_offset = records_reader().page(RunEntry, *client_routes.read_page())
    release = serving().release_name
    return answer_json(Runs(runs=entries, next_offset=next_offset, release=release))


def releases() -> Answer:
    """List deployments and rollbacks, newest first."""
    entries, next_offset = records_reader().page(ReleaseEntry, *client_routes.read_page())
    release = serving().release_name
    return answer_json(Releases(releases=entries, next_offset=next_offset, release=release))


def find_report(folder: Path) -> Path | None:
    """Return the path of the newest report, or None without a readable report."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return None
    reports = [n for n in names if (m := REPORT.fullmatch(n)) and artifacts.is_stamp(m[1])]
    return folder / max(reports) if reports else None


def read_report(folder: Path) -> Answer:
    """Return the newest report.

    Raises
    ------
    RefusedError
        With status 404, before the first one.
    """
    path = find_report(folder)
    if path is None:
        raise RefusedError(404, NO_REPORT)
    headers = [
        ("Content-Type", "application/pdf"),
        ("Content-Disposition", f'inline; filename="{path.name}"'),
    ]
    try:
        return Answer(200, path.read_bytes(), headers)
    except OSError as error:
        raise RefusedError(404, NO_REPORT) from error


def report() -> Answer:
    """Return the last report as a PDF."""
    return read_report(serving().config.output_model_path)


def model_card() -> Answer:
    """Return the card of the model in production: purpose, data, quality, groups and limits."""
    now = serving()
    release = now.release_or_refuse()
    text = client_routes.run_query(lambda queries: queries.model_card(now.config, release))
    return Answer(200, text.encode(), [("Content-Type", MARKDOWN)], release=release.name)


def read_chart(folder: Path, file: str) -> Answer:
    """Return a listed chart.

    Parameters
    ----------
    folder : Path
        The folder of models.
    file : str
        The requested name.

    Raises
    ------
    RefusedError
        With status 404.
    """
    drawn = chart_files.read(folder)
    if drawn is None or drawn.find(file) is None or not CHART.fullmatch(file):
        raise RefusedError(404, NO_CHART)
    try:
        return Answer(200, (chart_files.folder_of(folder) / file).read_bytes(), SVG_HEADERS)
    except OSError as error:
        raise RefusedError(404, NO_CHART) from error


def metrics() -> Answer:
    """Return the metrics in the format of Prometheus."""
    numbers: Metrics = current_app.extensions["metrics"]
    return Answer(200, numbers.expose(), [("Content-Type", CONTENT_TYPE)])


def read_static(name: str) -> Answer:
    """Return a script, style sheet or page of the dashboard, by exact name."""
    kind = STATIC_KINDS.get(name.rpartition(".")[2])
    path = STATIC_FOLDER / name
    if kind is None or path.parent != STATIC_FOLDER or not path.is_file():
        raise RefusedError(404, "There is no such file.")
    return Answer(200, path.read_bytes(), [("Content-Type", kind)])


def docs() -> Answer:
    """Show the interactive API documentation."""
    return read_static("docs.html")


def describe_service() -> Answer:
    """Describe the service in OpenAPI 3.1."""
    now = serving()
    used = None if now.release is None else now.release.model
    schema = now.config.schema if used is None else used.schema
    categories = {} if used is None else {term.column: term.known for term in used.categorical}
    operations = [
        Operation(
            method=route.method,
            path=route.path,
            summary=route.summary,
            answer=route.answer,
            role=route.role,
            refusals=route.refusals,
            parameters=client_routes.describe_list(route.parameters, schema, now.config),
            body_kind=route.body_kind,
            tag=route.tag,
        )
        for route in ROUTES
    ]
    needs_token: bool = current_app.extensions["needs_token"]
    described = describe(operations, schema, categories, now.config.api, needs_token=needs_token)
    return answer_json(described)


# Scripts and styles of the pages, open since they hold no data.
STATIC = Route("GET", "/static/{name}", read_static, "text/css", None)


ROUTES = (
    Route(
        "POST", "/predict", predict, Predictions, Role.READ, (415, 422, 503), (EXPLAIN, LOGGED),
        BodyKind.ROWS, Tag.PREDICTIONS, Lane.FAST,
    ),
    Route(
        "POST", "/invocations", invocations, Predictions, Role.READ, (415, 422, 503),
        (EXPLAIN, LOGGED), BodyKind.TABLES, Tag.MLFLOW, Lane.FAST,
    ),
    Route("GET", "/ping", ping, TEXT, None, (503,), tag=Tag.MLFLOW, lane=Lane.LOOP),
    Route("GET", "/version", version, TEXT, Role.READ, tag=Tag.MLFLOW),
    Route(
        "POST", "/v2/models/{model}/infer", infer, InferenceResponse, Role.READ,
        (404, 415, 422, 503), (*MODEL, LOGGED), BodyKind.TENSORS, Tag.INFERENCE, Lane.FAST,
    ),
    Route(
        "GET", "/v2/models/{model}", model_metadata, ModelMetadata, Role.READ, (404, 503), MODEL,
        tag=Tag.INFERENCE,
    ),
    Route(
        "GET", "/v2/models/{model}/ready", model_ready, ModelReady, Role.READ, (404, 503), MODEL,
        tag=Tag.INFERENCE,
    ),
    Route("GET", "/v2", server_metadata, ServerMetadata, tag=Tag.INFERENCE),
    Route(
        "GET", "/v2/health/live", server_live, ServerLive, None, tag=Tag.INFERENCE, lane=Lane.LOOP
    ),
    Route(
        "GET", "/v2/health/ready", server_ready, ServerReady, None, (503,), tag=Tag.INFERENCE,
        lane=Lane.LOOP,
    ),
    Route("GET", "/score", score, Score, Role.READ, (503,), tag=Tag.MODEL, lane=Lane.LOOP),
    Route(
        "GET", "/summarise", summarise, Summary, Role.READ, (503,), tag=Tag.MODEL, lane=Lane.LOOP
    ),
    Route("GET", "/diagnose", diagnose, Diagnosis, Role.READ, (503,), tag=Tag.MODEL),
    Route("GET", "/releases", releases, Releases, Role.READ, (422, 503), PAGING, tag=Tag.MODEL),
    Route("GET", "/runs", runs, Runs, Role.READ, (422, 503), PAGING, tag=Tag.MODEL),
    Route(
        "GET", "/worklist", client_routes.worklist, Worklist, Role.READ, (422, 503), LIST,
        tag=Tag.CLIENTS,
    ),
    Route(
        "GET", "/worklist.csv", client_routes.worklist_csv, "text/csv", Role.READ, (422, 503),
        LIST_CSV, tag=Tag.CLIENTS,
    ),
    Route(
        "GET", "/worklist.xlsx", client_routes.worklist_xlsx, client_routes.XLSX, Role.READ,
        (422, 503), client_routes.LIST_XLSX, tag=Tag.CLIENTS,
    ),
    Route(
        "GET", "/worklist-crm.csv", client_routes.worklist_crm, "text/csv", Role.READ, (422, 503),
        client_routes.LIST_CRM, tag=Tag.CLIENTS,
    ),
    Route(
        "GET", "/clients/{client}", client_routes.client, ClientDetails, Role.READ, (404, 503),
        CLIENT, tag=Tag.CLIENTS,
    ),
    Route(
        "GET", "/outcomes", client_routes.outcomes, Outcomes, Role.READ, (503,), tag=Tag.CLIENTS
    ),
    Route(
        "GET", "/calling", client_routes.calling, CallingEffect, Role.READ, (503,), tag=Tag.CLIENTS
    ),
    Route("GET", "/report.pdf", report, "application/pdf", Role.READ, (404,), tag=Tag.MODEL),
    Route("GET", "/model-card", model_card, "text/markdown", Role.READ, (503,), tag=Tag.MODEL),
    *work_routes.ROUTES,
    *approval_routes.ROUTES,
    *run_routes.ROUTES,
    Route("GET", "/health", health, Health, None, (503,), lane=Lane.LOOP),
    Route("GET", "/metrics", metrics, TEXT),
    Route("GET", "/openapi.json", describe_service, JSON),
    # The page is open and requests its content with the token.
    Route("GET", "/docs", docs, "text/html", None),
)  # fmt: skip
