"""HTTP contestants, driven by the load generator of this directory."""

import json
import os
import time
import urllib.error
import urllib.request

from .children import Failed, run

# Anybody who answers has read this and gives it back.
MARKER = "bench-echo-7f3a"
ARGUMENT = json.dumps({"marker": MARKER, "amount": 1.5, "items": [1, 2, 3]})


def call(identifier):
    return {
        "jsonrpc": "2.0",
        "id": identifier,
        "method": "api.echo",
        "params": {"a": json.loads(ARGUMENT)},
    }


class HttpTarget:
    """A server, a request for it, and how to tell its answer."""

    def __init__(self, name, load, work_dir, address, path, body, headers=(), marker_count=1, status=200):
        self.name = name
        self.load = load
        self.address = address
        self.path = path
        self.headers = list(headers)
        self.marker_count = marker_count
        self.status = status
        # Without a body it is a GET.
        self.body_file = None
        if body is not None:
            self.body_file = work_dir / f"{name}.body"
            self.body_file.write_text(json.dumps(body, separators=(",", ":")))
        self.headers_file = work_dir / f"{name}.headers"
        self.headers_file.touch(mode=0o600)
        self.headers_file.write_text("".join(f"{line}\n" for line in self.headers))

    def probe(self, timeout=15):
        """The body of one good answer; waits until there is one."""
        deadline = time.monotonic() + timeout
        while True:
            said = self._ask()
            if said.count(MARKER) >= self.marker_count:
                return said
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} does not answer as it should: {said[:400]}")
            time.sleep(0.1)

    def location(self):
        """Where it redirects to."""
        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        try:
            urllib.request.build_opener(Stay).open(self._request(), timeout=10)
        except urllib.error.HTTPError as answer:
            if answer.headers["location"]:
                return answer.headers["location"]
            raise Failed(f"{self.name} answers {answer.code}: {answer.read()[:300]}") from answer
        raise Failed(f"{self.name} does not redirect")

    def answer_headers(self):
        """The headers of an answer, without those that every HTTP server adds by itself."""
        with urllib.request.urlopen(self._request(), timeout=10) as response:
            return [(name, value) for name, value in response.getheaders()
                    if name.lower() not in ("connection", "content-length", "date")]

    def _request(self):
        request = urllib.request.Request(
            f"http://{self.address}{self.path}",
            data=self.body_file.read_bytes() if self.body_file else None,
        )
        if self.body_file:
            request.add_header("content-type", "application/json")
        for line in self.headers:
            request.add_header(*line.split(": ", 1))
        return request

    def _ask(self):
        try:
            with urllib.request.urlopen(self._request(), timeout=10) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            # Never a good answer, whatever its body says.
            return f"{error.code} {error.read().decode()[:300]}".replace(MARKER, "(marker)")
        except OSError as error:
            return str(error)

    def measure(self, connections, seconds, warm_up, requests=None):
        """Figures of one run, as the load generator prints them."""
        command = [
            self.load, "--address", self.address, "--path", self.path,
            *(["--body", self.body_file] if self.body_file else []),
            "--headers", self.headers_file,
            "--status", self.status, "--marker", MARKER, "--marker-count", self.marker_count,
            "--connections", connections, "--threads", max(1, (os.cpu_count() or 1) // 2),
            "--seconds", seconds, "--warm-up", warm_up,
        ]
        if requests is not None:
            command += ["--requests", requests]
        return json.loads(run(command, timeout=seconds + warm_up + 90))
