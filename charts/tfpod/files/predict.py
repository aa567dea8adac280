#!/usr/bin/env python3
"""Ask the Service for one prediction of the digits model, or for any other model whether it is ready.

Where gRPC is served, see that its port speaks HTTP/2.
"""

import json
import os
import socket
import sys
from http.client import HTTPConnection
from pathlib import Path


def main() -> str | None:
    """Return what is wrong."""
    model, digits = os.environ["MODEL"], os.environ["MODEL"] == "digits"
    status, answer = ask(f"/v2/models/{model}/infer", blank_image()) if digits else ask(f"/v2/models/{model}/ready")
    sys.stdout.write(f"{status} {answer[:500]!r}\n")
    if status != 200:
        return f"expected 200, got {status}"
    if digits:
        probabilities = json.loads(answer)["outputs"][0]["data"]
        if len(probabilities) != 10 or abs(sum(probabilities) - 1) > 0.01:
            return f"expected ten probabilities, got {probabilities}"
    return greet((os.environ["HOST"], int(port))) if (port := os.environ.get("GRPC_PORT")) else None


def ask(path: str, body: object = None) -> tuple[int, bytes]:
    """GET the path, or POST the body as JSON; return status and answer."""
    connection = HTTPConnection(os.environ["HOST"], int(os.environ["PORT"]), timeout=30)
    headers = {"Content-Type": "application/json"}
    if tokens := os.environ.get("TOKENS_FILE"):
        headers["Authorization"] = f"Bearer {Path(tokens).read_text().split()[0]}"
    if body is None:
        connection.request("GET", path, headers=headers)
    else:
        connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, response.read()


def greet(address: tuple[str, int]) -> str | None:
    """Return what is wrong at an address of gRPC: HTTP/2 is greeted back with SETTINGS, a frame of type 4."""
    with socket.create_connection(address, timeout=30) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        head = answer.read(9)
    return None if head[3:4] == b"\4" else f"gRPC: expected HTTP/2, got {head!r}"


def blank_image() -> object:
    """Return a request for one image without ink, in the Open Inference Protocol."""
    image = {"name": "image", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": [0.0] * 64}
    return {"inputs": [image]}


if __name__ == "__main__":
    sys.exit(main())
