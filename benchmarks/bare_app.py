"""Two routes in Flask, for comparing servers: one answers at once, one reads a body."""

from flask import Flask, request

app = Flask("bare")


@app.get("/health")
def health() -> str:
    """Answer at once."""
    return "ok"


@app.post("/predict")
def predict() -> str:
    """Answer after the whole body."""
    return str(len(request.get_data()))
