"""Flask, for gunicorn."""

from flask import Flask, Response, jsonify, request

from benchmarks.peers.model import load

app = Flask(__name__)
run = load()


@app.post("/predict")
def predict() -> Response:
    """Answer rows with rows."""
    return jsonify({"predictions": run(request.get_json()["instances"]).tolist()})
