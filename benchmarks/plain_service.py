"""The other sides of the serving benchmarks, on the same server: no work, and the plain way.

    python -m benchmarks.plain_service CONFIG PORT

`/empty` is an empty Flask route. `/plain` is the obvious implementation: get_json, a DataFrame, the
pipeline of scikit-learn, jsonify.
"""

import asyncio
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from flask import Flask, jsonify, request
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from scripts.api.http_server import bind, serve_until_stopped
from scripts.api.middleware import MATCHED
from scripts.api.responses import Answer, WsgiResponse
from scripts.api.routing import Lane, Route
from scripts.core import artifacts
from scripts.core.config import Config
from scripts.core.config_file import read_config


def fit(config: Config) -> Pipeline:
    """Fit the pipeline on the latest dataset."""
    path = artifacts.find_latest(
        config.output_folder_path, artifacts.Kind.DATASET, "scripts.ingestion"
    )
    table = pd.read_csv(path)
    y = (table[config.schema.target].astype(str) == str(config.schema.positive)).astype(int)
    pipeline = make_pipeline(
        SimpleImputer(strategy="median"), LogisticRegression(solver="newton-cholesky")
    )
    return pipeline.fit(table[list(config.schema.features)], y)


def make_app(config: Config) -> Flask:
    """Return a Flask application with both routes."""
    app, pipeline = Flask("plain"), fit(config)

    @app.get("/empty")
    def empty() -> str:
        return ""

    @app.post("/plain")
    def plain() -> Any:
        table = pd.DataFrame(request.get_json()["data"])[list(config.schema.features)]
        probabilities = pipeline.predict_proba(table)[:, 1]
        return jsonify(
            predictions=(probabilities >= 0.5).astype(float).tolist(),
            probabilities=probabilities.tolist(),
        )

    return app


class PlainMiddleware:
    """A middleware without checks."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def limit(self, _environ: dict[str, Any]) -> int:
        """Return the body limit of the service."""
        return 8 * 2**20

    def admit(self, environ: dict[str, Any]) -> None:
        """Match every request to a route of the event loop, without checks."""
        environ[MATCHED] = Route("GET", "/empty", lambda: None, "text/plain", lane=Lane.LOOP)  # type: ignore[arg-type, return-value] # never called

    def locked_out_site(self, _environ: dict[str, Any]) -> None:
        """Return None, since nobody logs in."""

    def respond(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Return the answer of Flask."""
        environ["wsgi.input"] = io.BytesIO(body)
        start: Any = WsgiResponse()
        content = b"".join(self._app.wsgi_app(environ, start))
        return Answer(start.status, content, start.headers)

    def finish(self, _environ: dict[str, Any], answer: Answer, _started_s: float) -> Answer:
        """Return the answer unchanged."""
        return answer


class FixedState:
    """A serving state without changes."""

    def __init__(self, config: Config) -> None:
        self._serving = SimpleNamespace(config=config)

    def check(self) -> None:
        """Find no change."""

    def last(self) -> Any:
        """Return the settings, without a release."""
        return self._serving


def main(config_path: Path, port: int) -> None:
    """Serve both routes, inline like the service."""
    config = read_config(config_path)
    middleware: Any = PlainMiddleware(make_app(config))
    state: Any = FixedState(config)
    api = type(config.api)(port=port)
    asyncio.run(serve_until_stopped(bind(api), middleware, state))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
