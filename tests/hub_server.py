"""A server on this machine that answers as the hub does, as far as one data set of a few small files needs it."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

COMMIT = "0123456789abcdef" * 2 + "01234567"


class Handler(http.server.BaseHTTPRequestHandler):
    """One file after another, and what there is to say of the data set."""

    protocol_version = "HTTP/1.1"
    name: str
    files: Mapping[str, bytes]

    def do_GET(self):
        path = self.path.split("?")[0]
        of_set, of_files = f"/api/datasets/{self.name}", f"/datasets/{self.name}/resolve/"
        if path.startswith(f"{of_set}/tree/"):
            self._answer(json.dumps([self._described(name) for name in self.files]).encode())
        elif path.startswith(of_set):
            siblings = [{"rfilename": name} for name in self.files]
            self._answer(json.dumps({"id": self.name, "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(of_files):
            self._answer_file(path.removeprefix(of_files).split("/", 1)[1])
        else:
            self._answer(b"", 404, {"X-Error-Code": "RepoNotFound"})

    def do_HEAD(self):
        self.do_GET()

    def _described(self, name):
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": _digest(self.files[name])}

    def _answer_file(self, name):
        if name in self.files:
            content = self.files[name]
            self._answer(content, headers={"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT})
        else:
            self._answer(b"", 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})

    def _answer(self, content, status=200, headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments):
        """Say nothing."""


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(name: str, files: Mapping[str, bytes]) -> Iterator[str]:
    """The address of a hub with that data set."""
    handler = type("HandlerOfSet", (Handler,), {"name": name, "files": files})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
