"""A web service of traffic signs on a real socket, which fails to order and keeps its own bill."""

import base64
import io
import json
import socket
import struct
import threading
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

from keras_reprogram import LiteRTSource, embedded_path

LABELS = tuple(f"sign {number}" for number in range(43))
KEY = "planted-key-8461"


class SignService:
    """Answers like TF Serving's REST API.

    Args:
        faults: taken one a request, first to last: a status, `(status, headers)`, or a name.
        latency: seconds a request.
        key: wanted in the `Authorization` header, or `None`.
    """

    def __init__(self, faults=(), latency=0.0, key=None):
        self.faults, self.latency, self.key = deque(faults), latency, key
        self.billed, self.together, self.most_together = Counter(), 0, 0
        self.lock = threading.Lock()
        self.model = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.handle(self, body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1/models/signs:predict"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def handle(self, handler, body):
        with self.lock:
            fault = self.faults.popleft() if self.faults else None
            self.together += 1
            self.most_together = max(self.most_together, self.together)
        try:
            time.sleep(self.latency)
            self.respond(handler, body, fault)
        finally:
            with self.lock:
                self.together -= 1

    def respond(self, handler, body, fault):
        if self.key and handler.headers.get("Authorization") != f"Bearer {self.key}":
            said = handler.headers.get("Authorization")
            return send(handler, 401, json.dumps({"error": f"wrong key {said}"}))
        if isinstance(fault, int | tuple):
            status, headers = fault if isinstance(fault, tuple) else (fault, {})
            return send(handler, status, '{"error": "to order"}', headers)
        images = [base64.b64decode(item["b64"]) for item in json.loads(body)["instances"]]
        with self.lock:
            self.billed.update(images)
            pixels = [np.asarray(Image.open(io.BytesIO(image)), np.float32) for image in images]
            scores = np.asarray(self.model(np.stack(pixels))).tolist()
        if fault == "reset":
            handler.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            handler.connection.close()
            handler.close_connection = True
            return None
        answer = json.dumps({"predictions": scores})
        if fault == "truncated":
            answer = answer[: len(answer) // 2]
        if fault == "wrong labels":
            answer = json.dumps({"predictions": [row[:7] for row in scores]})
        if fault == "nan":
            answer = json.dumps({"predictions": [[float("nan")] * 43 for _ in scores]})
        return send(handler, 200, answer)


def send(handler, status, text, headers=None):
    content = text.encode()
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
