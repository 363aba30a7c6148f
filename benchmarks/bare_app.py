"""A Flask application with two routes, for the comparison of servers."""

from flask import Flask, request

app = Flask("bare")


@app.get("/health")
def health() -> str:
    """Return an answer at once."""
    return "ok"


@app.post("/predict")
def predict() -> str:
    """Return an answer after reading the whole body."""
    return str(len(request.get_data()))
