"""A reward endpoint of a team's own: how blue the frames are. Run: python examples/own-reward/endpoint.py"""

from __future__ import annotations

import io
import json
import sys
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


def score(frames: np.ndarray, request: dict) -> list[float]:
    """One number per video; `frames` are uint8 (videos, frames, height, width, RGB)."""
    strength = request["params"].get("strength", 1.0)
    blueness = frames[..., 2].mean((1, 2, 3)) / 255
    return [float(value) for value in blueness**strength]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        }
        frames = np.load(io.BytesIO(parts["frames"]))["frames"]
        answer = json.dumps({"scores": score(frames, json.loads(parts["request"]))}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8900
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
