"""One connection to a server, without a client library in between."""

from __future__ import annotations

import http.client
import json


class Refused(RuntimeError):
    """The server answered with an error."""

    def __init__(self, method: str, path: str, status: int, text: bytes):
        super().__init__(f"{method} {path}: {status} {text[:500]!r}")
        self.status = status
        self.text = text

    @property
    def body(self) -> dict:
        return json.loads(self.text)


class Rest:
    """One connection; not for several threads at once."""

    def __init__(self, port: int, timeout_s: float = 120.0):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def call(self, method: str, path: str, body=None):
        """Sends a request and returns the `result` of its answer."""
        payload = None if body is None else json.dumps(body)
        self.connection.request(method, path, payload, {"content-type": "application/json"})
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise Refused(method, path, reply.status, text)
        return json.loads(text)["result"]
