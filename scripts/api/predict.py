"""Answers to prediction requests: probabilities, bands and contributions for the rows of a body."""

import time
from collections.abc import Sequence
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from msgspec import UNSET, Raw
from numpy.typing import NDArray

from scripts.api import dated_requests
from scripts.api.columnar import RequestRows
from scripts.api.fast_predict import FastPredictor, Row
from scripts.api.prediction_log import LoggedRows
from scripts.api.request_bodies import exceeds_one_call, read_rows
from scripts.api.request_rows import read_columns, shorten
from scripts.api.responses import (
    JSON,
    MAX_KNOWN,
    MAX_UNKNOWN,
    Answer,
    PairContribution,
    Predictions,
    RefusedError,
    UnknownCategory,
    answer_json,
)
from scripts.api.serving_state import Serving
from scripts.core.config import ApiSettings
from scripts.model import logistic_model
from scripts.model.logistic_model import Model
from scripts.model.ranking import BANDS, band_limits, find_band, find_places
from scripts.production.release import Release

# Values encoded once, each with the comma behind it. numpy fills short ones up with zero bytes.
JSON_PREDICTIONS = np.array([b"0.0,", b"1.0,"])
JSON_BANDS = np.array([f'"{band}",'.encode() for band in BANDS])
TRUTHS = {"true": True, "false": False}


def read_explain(query: str) -> bool:
    """Read ?explain=true off the query string, or refuse unknown parameters.

    Parameters
    ----------
    query : str
        The query string.
    """
    if not query:
        return False
    given = parse_qsl(query, keep_blank_values=True)
    if len(given) != 1 or given[0][0] != "explain" or given[0][1] not in TRUTHS:
        raise RefusedError(422, "Expected nothing behind the path but ?explain=true or false.")
    return TRUTHS[given[0][1]]


def explain(release: Release, columns: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Split the log-odds of each row into the intercept and a contribution per column and pair."""
    terms = logistic_model.terms(release.model, columns)
    # Added in the order of the response, so that a client can reproduce the same bits.
    log_odds = sum(terms.values(), start=np.float64(release.model.intercept))
    names, pairs = release.model.schema.features, [pair.columns for pair in release.model.pairs]
    own = zip(*(terms[(name,)].tolist() for name in names), strict=True)
    shared = zip(*(terms[pair].tolist() for pair in pairs), strict=True)
    return {
        "log_odds": np.atleast_1d(log_odds).tolist(),
        "intercept": release.model.intercept,
        "contributions": [dict(zip(names, row, strict=True)) for row in own],
        "pair_contributions": [
            [PairContribution(list(pair), effect) for pair, effect in zip(pairs, row, strict=True)]
            for row in shared
        ]
        or UNSET,
    }


def format_array(encoded: NDArray[np.bytes_], places: NDArray[np.int64]) -> Any:
    """Return the JSON array of the encoded values at the given indices."""
    # Half of the time of joining a list.
    content = encoded.take(places).tobytes().translate(None, b"\0")
    return Raw(b"[" + content[:-1] + b"]")


def list_unknown(used: Model, columns: dict[str, NDArray[Any]]) -> list[UnknownCategory]:
    """List the distinct unknown categories of the rows, up to a limit."""
    unknown = []
    for term in used.categorical:
        values = columns[term.column].tolist()
        # Unknown categories come in the order of the rows, so the first suffice.
        for category, n_rows in islice(
            logistic_model.count_unknown_categories(term, values).items(), MAX_UNKNOWN
        ):
            row, known = values.index(category), term.known[:MAX_KNOWN]
            unknown.append(UnknownCategory(row, term.column, shorten(category), n_rows, known))
    return sorted(unknown, key=lambda entry: entry.row)[:MAX_UNKNOWN]


def make_logged_rows(
    release: Release,
    columns: dict[str, NDArray[Any]],
    identifiers: Sequence[Sequence[Any]] | None,
    probabilities: list[float],
    predictions: list[bool],
) -> LoggedRows:
    """Return the rows and predictions of a request as an entry of the prediction log."""
    return LoggedRows(release.name, columns, identifiers, probabilities, predictions, time.time())


def find_ids(rows: list[dict[str, Any]], serving: Serving) -> list[tuple[Any, ...]] | None:
    """Return the identifiers of each row, UNSET for missing members."""
    if serving.config.api.log_predictions is None:
        return None
    ids = serving.release_or_refuse().model.schema.client_ids
    return [tuple(row.get(name, UNSET) for name in ids) for row in rows]


def answer_row(
    fast_predictor: FastPredictor, row: Row, release: Release, api: ApiSettings
) -> Answer | None:
    """Answer a request of a single row, or return None if the full answer is needed."""
    probability = fast_predictor.probability(row)
    if probability is None:
        return None
    is_positive = probability >= release.model.threshold
    content = Predictions(
        predictions=[float(is_positive)],
        probabilities=[probability],
        risk_bands=[find_band(probability, band_limits(release.model, api))],
        release=release.name,
    )
    answer = answer_json(content, release=release.name, n_rows=1, n_positives=int(is_positive))
    if api.log_predictions is not None:
        columns, ids = fast_predictor.columns([row]), fast_predictor.identifiers([row])
        answer.predicted = make_logged_rows(release, columns, ids, [probability], [is_positive])
    return answer


def annotate(
    answer: Answer,
    rows: RequestRows,
    release: Release,
    api: ApiSettings,
    probability: NDArray[np.float64],
    predicted: NDArray[np.int64],
) -> Answer:
    """Attach predictions to an answer for the metrics and the prediction log."""
    answer.release, answer.n_rows = release.name, len(probability)
    answer.n_positives = int(predicted.sum())
    if api.log_predictions is not None:
        answer.predicted = make_logged_rows(
            release, rows.columns, rows.identifiers,
            probability.tolist(), predicted.astype(np.bool_).tolist(),
        )  # fmt: skip
    return answer


def answer_rows(
    rows: RequestRows, release: Release, api: ApiSettings, *, is_explained: bool
) -> Answer:
    """Answer a request with decoded rows."""
    columns = rows.columns
    probability = logistic_model.probabilities(release.model, columns)
    predicted = logistic_model.predictions(release.model, probability)
    content = Predictions(
        predictions=format_array(JSON_PREDICTIONS, predicted),
        probabilities=probability.tolist(),
        risk_bands=format_array(
            JSON_BANDS, find_places(probability, band_limits(release.model, api))
        ),
        release=release.name,
        unknown_categories=list_unknown(release.model, columns) or UNSET,
        **(explain(release, columns) if is_explained else {}),
    )
    return annotate(answer_json(content), rows, release, api, probability, predicted)


def answer_prediction(
    serving: Serving, query: str, content_type: str, encoding: str, body: bytes
) -> Answer:
    """Predict each row of a request, in the order sent.

    Parameters
    ----------
    serving : Serving
        The config and release in use.
    query, content_type, encoding : str
        The query string, and the headers Content-Type and Content-Encoding.
    body : bytes
        The body as sent.

    Returns
    -------
    Answer
        The predictions.

    Raises
    ------
    RefusedError
        With status 503, 415, 400 or 422.
    """
    release, api, fast_predictor = (
        serving.release_or_refuse(),
        serving.config.api,
        serving.fast_predictor,
    )
    is_explained = read_explain(query)
    rows = None
    if fast_predictor is not None and content_type == JSON and not encoding:
        # A body too slow for a single call goes to the strict reader, cell by cell.
        rows = None if exceeds_one_call(body, api.max_rows) else fast_predictor.read(body)
    if fast_predictor is None or rows is None or not 1 <= len(rows) <= api.max_rows:
        # Any other request goes to the strict reader, which reports its faults.
        named_rows = read_rows(body, content_type, encoding, api, release.model.schema)
        schema = release.model.schema
        day = dated_requests.body_day(body) if schema.date else None
        named_rows = dated_requests.add_derived(named_rows, schema, day)
        read = RequestRows(read_columns(named_rows, schema), find_ids(named_rows, serving))
    elif isinstance(rows, RequestRows):
        read = rows
    else:
        if len(rows) == 1 and not is_explained:
            answer = answer_row(fast_predictor, rows[0], release, api)
            if answer is not None:
                return answer
        ids = fast_predictor.identifiers(rows) if fast_predictor.with_ids else None
        read = RequestRows(fast_predictor.columns(rows), ids)
    return answer_rows(read, release, api, is_explained=is_explained)
