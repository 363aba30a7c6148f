"""The routes that predict, and who answers each: without Flask, which would cost as much again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts import inference_protocol
from scripts.answers import Answer
from scripts.inference_protocol import answer_inference
from scripts.live import Serving
from scripts.predicting import answer_prediction

Environ = Mapping[str, Any]

PREDICT = "/predict"
# Of MLflow's scoring server, and the same in everything else.
INVOCATIONS = "/invocations"
INFER = "/v2/models/{model}/infer"


@dataclass(frozen=True)
class Predictor:
    """A route that predicts; answers from the path, the environment of WSGI and the body."""

    route: str
    answer: Callable[[Serving, str, Environ, bytes], Answer]


def answer_rows(serving: Serving, _path: str, environ: Environ, body: bytes) -> Answer:
    """Answer a request of /predict."""
    return answer_prediction(
        serving,
        environ.get("QUERY_STRING", ""),
        environ.get("CONTENT_TYPE", ""),
        environ.get("HTTP_CONTENT_ENCODING", ""),
        body,
    )


BY_PATH = {path: Predictor(path, answer_rows) for path in (PREDICT, INVOCATIONS)}
INFERENCE = Predictor(INFER, answer_inference)


def find_predictor(path: str) -> Predictor | None:
    """Find who predicts at a path; None if it is another route, or none."""
    found = BY_PATH.get(path)
    if found is None and inference_protocol.INFER.fullmatch(path):
        return INFERENCE
    return found
