"""The open inference protocol, version 2: predictions and model state as tensors."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from numpy.typing import NDArray

from scripts.api import tensors
from scripts.api.columnar import UNREADABLE
from scripts.api.predict import JSON_BANDS, annotate, format_array, list_unknown
from scripts.api.request_bodies import (
    SLOW,
    check_whole,
    refuse_unreadable,
)
from scripts.api.responses import JSON, PROBLEM, Answer, RefusedError, answer_json
from scripts.api.serving_state import Serving
from scripts.api.tensors import LENGTH_BYTES, Datatype, Tensor
from scripts.core.config import Schema
from scripts.model import logistic_model
from scripts.model.ranking import BANDS, BandLimits, band_limits, find_places
from scripts.production.release import Release

SERVER_NAME = "adras"
VERSION = "1"
PREFIX = "/v2/"
INFER = re.compile(r"/v2/models/([^/]+)/infer")
HEADER_LENGTH = "Inference-Header-Content-Length"
BINARY = "application/octet-stream"
# Clients of this protocol send no content type, or application/octet-stream.
CONTENT_TYPES = ("", JSON, BINARY)
BYTES_OF_BANDS = np.array(
    [len(str(b)).to_bytes(LENGTH_BYTES, "little") + str(b).encode() for b in BANDS], dtype=object
)

Parameters = dict[str, str | float | bool]
# The output of a request without outputs, as in other servers of scikit-learn models.
DEFAULT_OUTPUT = "predict"


class OutputParameters(Struct):
    """Options of an output, with unknown members ignored."""

    binary_data: bool | None = None


class RequestedOutput(Struct):
    """A requested output."""

    name: str
    parameters: OutputParameters = msgspec.field(default_factory=OutputParameters)


class RequestParameters(Struct):
    """Options of all outputs, with unknown members ignored."""

    binary_data_output: bool = False


class InferenceRequest(Struct):
    """Clients as tensors: a tensor per column, or a matrix in the order of the model's columns."""

    inputs: Annotated[list[Tensor], Meta(min_length=1)]
    id: str | UnsetType = UNSET
    outputs: list[RequestedOutput] = msgspec.field(default_factory=list)
    parameters: RequestParameters = msgspec.field(default_factory=RequestParameters)


class InferenceOutput(Struct, frozen=True, kw_only=True):
    """An output tensor, with values in row-major order."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[float | str] | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET


class InferenceResponse(Struct, frozen=True, kw_only=True):
    """Predictions as tensors, with the release as the model's version.

    Unknown categories are listed in parameters.unknown_categories, as JSON.
    """

    model_name: str
    model_version: str
    id: str | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET
    outputs: list[InferenceOutput]


class TensorMetadata(Struct, frozen=True, kw_only=True):
    """An input or output tensor of the model, with -1 for any number of rows."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(Struct, frozen=True, kw_only=True):
    """The model's input and output tensors."""

    name: str
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(Struct, frozen=True, kw_only=True):
    """The readiness of the model."""

    name: str
    ready: bool


class ServerMetadata(Struct, frozen=True, kw_only=True):
    """The server's name, version and supported protocol extensions."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Struct, frozen=True, kw_only=True):
    """The liveness of the service."""

    live: bool


class ServerReady(Struct, frozen=True, kw_only=True):
    """The readiness of the service."""

    ready: bool


class Results:
    """The predictions for the rows of a request."""

    def __init__(
        self, probability: NDArray[np.float64], predicted: NDArray[np.int64], limits: BandLimits
    ) -> None:
        self.probability = probability
        self.predicted = predicted
        self._limits = limits

    def classes(self, *, is_binary: bool) -> Any:
        """Return the predicted classes: 1 for exit, 0 for stay."""
        if is_binary:
            return self.predicted.astype("<i8").tobytes()
        # Digits and commas in turns: sixteen times as fast as putting encoded together.
        encoded = np.full(2 * len(self.predicted) + 1, ord(","), np.uint8)
        encoded[1::2] = self.predicted + ord("0")
        encoded[[0, -1]] = ord("["), ord("]")
        return Raw(encoded.tobytes())

    def probabilities(self, *, is_binary: bool) -> Any:
        """Return the probabilities of both classes for each row."""
        both = np.stack((1 - self.probability, self.probability), axis=1)
        return both.astype("<f8").tobytes() if is_binary else both.ravel().tolist()

    def bands(self, *, is_binary: bool) -> Any:
        """Return the risk band of each row."""
        places = find_places(self.probability, self._limits)
        if is_binary:
            return b"".join(BYTES_OF_BANDS[places].tolist())
        return format_array(JSON_BANDS, places)


# Named after scikit-learn's methods, as in other servers of its models.
OUTPUTS: dict[str, tuple[Literal["INT64", "FP64", "BYTES"], int, Callable[..., Any]]] = {
    "predict": ("INT64", 1, Results.classes),
    "predict_proba": ("FP64", 2, Results.probabilities),
    "risk_band": ("BYTES", 1, Results.bands),
}


decode = msgspec.json.Decoder(InferenceRequest).decode


def check_name(serving: Serving, name: str) -> None:
    """Refuse another model's name with 404."""
    known = serving.config.api.model_name
    if name != known:
        raise RefusedError(404, f"There is no such model; expected {known}.")


def read_request(
    body: bytes, header_length: str, n_names: int, max_rows: int, *, is_slow: bool
) -> InferenceRequest:
    """Read a request: JSON, then the bytes of the binary tensors.

    Parameters
    ----------
    body : bytes
        The body as sent.
    header_length : str
        The number of bytes of the JSON, "" for the whole body.
    n_names, max_rows : int
        The limits of columns and rows.
    is_slow : bool
        Whether decoding the JSON in a single call may take long.

    Raises
    ------
    RefusedError
        With status 400 or 422.
    """
    if header_length and (not header_length.isdecimal() or int(header_length) > len(body)):
        raise RefusedError(
            400, f"Expected {HEADER_LENGTH} to be a number of bytes, at most the body's."
        )
    n_bytes = int(header_length) if header_length else len(body)
    content = body[:n_bytes]
    if is_slow:
        # A smaller tensor of short numbers is decoded at once, and its values are counted then.
        check_whole(content, n_names, max_rows)
    try:
        request = decode(content)
    except UNREADABLE as error:
        expected = "Expected an inference request with tensors as inputs"
        raise refuse_unreadable(error, body, expected) from error
    tensors.attach_binary(request.inputs, body[n_bytes:])
    return request


def check_size(n_rows: int, max_rows: int) -> None:
    """Refuse a request of no rows or too many."""
    if not 1 <= n_rows <= max_rows:
        wanted = f"at most {max_rows} rows" if n_rows else "at least one row"
        raise RefusedError(422, f"The data has {n_rows} rows; expected {wanted}.")


def select_outputs(request: InferenceRequest) -> dict[str, bool]:
    """Return the names of the requested outputs, each with its binary flag."""
    by_default = request.parameters.binary_data_output
    if not request.outputs:
        return {DEFAULT_OUTPUT: by_default}
    wanted: dict[str, bool] = {}
    for output in request.outputs:
        if output.name not in OUTPUTS or output.name in wanted:
            raise RefusedError(
                422, f"Expected the outputs to be, once each, of {', '.join(OUTPUTS)}."
            )
        is_binary = output.parameters.binary_data
        wanted[output.name] = by_default if is_binary is None else is_binary
    return wanted


def format_response(
    request: InferenceRequest,
    results: Results,
    wanted: Mapping[str, bool],
    name: str,
    release: Release,
    unknown: list[Any],
) -> Answer:
    """Format the response: JSON, then the bytes of the binary outputs."""
    outputs, parts = [], []
    for key, is_binary in wanted.items():
        datatype, width, encode = OUTPUTS[key]
        content = encode(results, is_binary=is_binary)
        size: dict[str, Any] | UnsetType = UNSET
        if is_binary:
            size = {"binary_data_size": len(content)}
        parts += [content] if is_binary else []
        outputs.append(
            InferenceOutput(
                name=key,
                datatype=datatype,
                shape=[len(results.probability), width],
                data=UNSET if is_binary else content,
                parameters=size,
            )
        )
    parameters: dict[str, Any] | UnsetType = UNSET
    if unknown:
        parameters = {"unknown_categories": msgspec.json.encode(unknown).decode()}
    head = InferenceResponse(
        model_name=name,
        model_version=release.name,
        id=request.id,
        parameters=parameters,
        outputs=outputs,
    )
    if not parts:
        return answer_json(head)
    encoded = msgspec.json.encode(head)
    headers = [("Content-Type", BINARY), (HEADER_LENGTH, str(len(encoded)))]
    return Answer(200, b"".join([encoded, *parts]), headers)


def answer_inference(
    serving: Serving, path: str, environ: Mapping[str, Any], body: bytes
) -> Answer:
    """Answer a request of the open inference protocol with the predictions of its tensors.

    Parameters
    ----------
    serving : Serving
        The config and release in use.
    path : str
        The requested path, with the name of the model.
    environ : mapping
        The WSGI environ.
    body : bytes
        The body as sent.

    Returns
    -------
    Answer
        The predictions.

    Raises
    ------
    RefusedError
        With status 404, 503, 415, 400 or 422.

    Notes
    -----
    Open Inference Protocol, version 2, "Inference Request JSON Object".
    """
    match = INFER.fullmatch(path)
    check_name(serving, match[1] if match else "")
    release, api = serving.release_or_refuse(), serving.config.api
    if environ.get("QUERY_STRING"):
        raise RefusedError(422, "Expected nothing behind the path.")
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").lower()
    if kind not in CONTENT_TYPES or encoding not in ("", "identity"):
        raise RefusedError(
            415,
            "Expected the content type application/json, or application/octet-stream with"
            f" {HEADER_LENGTH}, and no content encoding.",
            [("Accept", JSON)],
        )
    schema = release.model.schema
    n_names = len(schema.client_ids) + len(schema.features)
    header_length = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH", "")
    is_slow = environ.get(SLOW, True)
    request = read_request(body, header_length, n_names, api.max_rows, is_slow=is_slow)
    wanted = select_outputs(request)
    check_size(request.inputs[0].shape[0], api.max_rows)
    ids = schema.client_ids if api.log_predictions is not None else ()
    rows = tensors.read_tensors(request.inputs, schema, ids)
    probability = logistic_model.probabilities(release.model, rows.columns)
    predicted = logistic_model.predictions(release.model, probability)
    answer = format_response(
        request, Results(probability, predicted, band_limits(release.model, api)), wanted,
        api.model_name, release, list_unknown(release.model, rows.columns),
    )  # fmt: skip
    return annotate(answer, rows, release, api, probability, predicted)


def describe_tensors(schema: Schema) -> list[TensorMetadata]:
    """Describe the model's input tensors, one per column."""
    return [
        TensorMetadata(
            name=name, datatype="FP64" if name in schema.numeric else "BYTES", shape=[-1, 1]
        )
        for name in schema.features
    ]


def answer_metadata(serving: Serving, name: str) -> Answer:
    """Describe the model's input and output tensors.

    Raises
    ------
    RefusedError
        With status 404 or 503.
    """
    check_name(serving, name)
    release = serving.release_or_refuse()
    outputs = [
        TensorMetadata(name=key, datatype=datatype, shape=[-1, width])
        for key, (datatype, width, _) in OUTPUTS.items()
    ]
    metadata = ModelMetadata(
        name=name,
        platform="adras_logistic_regression",
        inputs=describe_tensors(release.model.schema),
        outputs=outputs,
    )
    return answer_json(metadata, release=release.name)


def add_error(environ: Mapping[str, Any], answer: Answer) -> Answer:
    """Add the member `error` of this protocol to a problem document."""
    kind = dict(answer.headers).get("Content-Type")
    is_ours = str(environ.get("PATH_INFO", "")).startswith(PREFIX)
    # A HEAD has no body.
    if kind != PROBLEM or not is_ours or not answer.body:
        return answer
    problem = msgspec.json.decode(answer.body, type=dict[str, Raw])
    problem["error"] = problem["detail"]
    headers = [pair for pair in answer.headers if pair[0].lower() != "content-length"]
    return Answer(answer.status, msgspec.json.encode(problem), headers, answer.release)
